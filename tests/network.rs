//! Videos from a server, and servers that misbehave. The server is a thread of this test on the loopback device.

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use c4c::{pictures, Call, Cancel, Picture, Result, Seek, Source, Status, VideoOptions};
use support::media::test_video;

/// What the server does when it is asked for a path.
enum Reply {
    /// Sends the bytes, or a range of them.
    File(Vec<u8>),
    /// Sends the bytes, and says that it knows no ranges.
    Stream(Vec<u8>),
    /// Sends so many bytes of the file and then nothing more.
    Stall(Vec<u8>, usize),
    /// Sends so many bytes of the file, promising more, and closes.
    Cut(Vec<u8>, usize),
    Redirect(String),
    /// Takes the request and never answers.
    Silent,
}

struct Server {
    address: String,
}

impl Server {
    fn new(replies: impl FnOnce(&str) -> Vec<(&'static str, Reply)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let replies: Arc<HashMap<&str, Reply>> = Arc::new(replies(&address).into_iter().collect());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let replies = Arc::clone(&replies);
                std::thread::spawn(move || drop(answer(stream.unwrap(), &replies)));
            }
        });
        Server { address }
    }

    fn sample(&self, path: &str, options: &VideoOptions, call: &Call) -> Result<Vec<Picture>> {
        let options = VideoOptions { allow_network: true, ..options.clone() };
        pictures(Source::Path(Path::new(&format!("{}{path}", self.address))), &options, call).map(|(p, ..)| p)
    }

    /// The status of a call that has a second, and how long it took.
    fn fails(&self, path: &str) -> (Status, Duration) {
        let call = Call::new(Some(Duration::from_secs(1)), None);
        let start = Instant::now();
        let error = self.sample(path, &VideoOptions::default(), &call).unwrap_err();
        println!("{path}: {:?} after {:?}: {error}", error.status(), start.elapsed());
        (error.status(), start.elapsed())
    }
}

fn answer(stream: TcpStream, replies: &HashMap<&str, Reply>) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let path = request.split(' ').nth(1).unwrap_or_default().to_string();
    let mut from = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.split('-').next().and_then(|n| n.parse::<usize>().ok());
        }
        if line.is_empty() {
            break;
        }
    }
    let forever = || std::thread::sleep(Duration::from_secs(60));
    match replies.get(path.as_str()) {
        Some(Reply::File(bytes)) => match from {
            Some(from) if from < bytes.len() => {
                let (last, all) = (bytes.len() - 1, bytes.len());
                write!(out, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{last}/{all}\r\n")?;
                write!(out, "Accept-Ranges: bytes\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", all - from)?;
                out.write_all(&bytes[from..])
            }
            _ => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len())?;
                out.write_all(bytes)
            }
        },
        Some(Reply::Stream(bytes)) => {
            write!(out, "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n")?;
            out.write_all(bytes)
        }
        Some(Reply::Stall(bytes, n)) => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
            out.write_all(&bytes[..*n])?;
            forever();
            Ok(())
        }
        Some(Reply::Cut(bytes, n)) => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
            out.write_all(&bytes[..*n])
        }
        Some(Reply::Redirect(to)) => write!(out, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"),
        Some(Reply::Silent) => {
            forever();
            Ok(())
        }
        None => write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    }
}

struct Files {
    _folder: tempfile::TempDir,
    mp4: PathBuf,
    ts: PathBuf,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mp4, ts) = (folder.path().join("video.mp4"), folder.path().join("video.ts"));
        let x264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25"];
        test_video(&mp4, "320x240", 25, 100, &x264);
        test_video(&ts, "320x240", 25, 100, &x264);
        Files { _folder: folder, mp4, ts }
    }
}

fn local(path: &Path) -> Vec<Picture> {
    pictures(Source::Path(path), &VideoOptions::default(), &Call::default()).unwrap().0
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// A playlist of one segment.
fn playlist(segment: &str) -> Vec<u8> {
    let head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n";
    format!("{head}#EXTINF:4.0,\n{segment}\n#EXT-X-ENDLIST\n").into_bytes()
}

#[test]
fn a_server_gives_what_the_file_gives() {
    let files = Files::new();
    let server = Server::new(|address| {
        vec![
            ("/video.mp4", Reply::File(read(&files.mp4))),
            ("/video.ts", Reply::File(read(&files.ts))),
            ("/stream.ts", Reply::Stream(read(&files.ts))),
            ("/moved", Reply::Redirect(format!("{address}/video.mp4"))),
            ("/list.m3u8", Reply::File(playlist("video.ts"))),
        ]
    });
    let (mp4, ts) = (local(&files.mp4), local(&files.ts));
    let sample = |path: &str| server.sample(path, &VideoOptions::default(), &Call::default()).unwrap();
    assert!(sample("/video.mp4") == mp4);
    assert!(sample("/moved") == mp4);
    assert!(sample("/video.ts") == ts);
    assert!(sample("/stream.ts") == ts);
    assert!(sample("/list.m3u8") == ts);
    let approximate = VideoOptions { seek: Seek::Approximate, ..Default::default() };
    assert!(server.sample("/video.mp4", &approximate, &Call::default()).unwrap() == mp4);
    let refused = pictures(
        Source::Path(format!("{}/video.mp4", server.address).as_ref()),
        &VideoOptions::default(),
        &Call::default(),
    );
    let error = refused.unwrap_err();
    assert_eq!(error.status(), Status::Forbidden);
    assert!(error.message().contains("C4C_ALLOW_NETWORK"), "{error}");
}

#[test]
fn servers_that_stall_or_break_off() {
    let files = Files::new();
    let (mp4, ts) = (read(&files.mp4), read(&files.ts));
    let server = Server::new(|_| {
        vec![
            ("/silent", Reply::Silent),
            ("/silent.ts", Reply::Silent),
            ("/no_body.mp4", Reply::Stall(mp4.clone(), 0)),
            ("/half.mp4", Reply::Stall(mp4.clone(), mp4.len() / 2)),
            ("/half.ts", Reply::Stall(ts.clone(), ts.len() / 2)),
            ("/cut.mp4", Reply::Cut(mp4.clone(), mp4.len() / 2)),
            ("/list.m3u8", Reply::File(playlist("silent.ts"))),
        ]
    });
    for path in ["/silent", "/no_body.mp4", "/half.mp4", "/half.ts", "/list.m3u8"] {
        let (status, time) = server.fails(path);
        assert_eq!(status, Status::Timeout, "{path}");
        // Not a measurement: far from the 30 s after which FFmpeg itself would give up.
        assert!(time < Duration::from_secs(15), "{path}: {time:?}");
    }
    assert!(matches!(server.fails("/cut.mp4").0, Status::MediaIo | Status::MediaFormat));
    assert_eq!(server.fails("/nothing.mp4").0, Status::MediaIo);
    let nobody = pictures(
        Source::Path(Path::new("http://127.0.0.1:9/video.mp4")),
        &VideoOptions { allow_network: true, ..Default::default() },
        &Call::default(),
    );
    assert_eq!(nobody.unwrap_err().status(), Status::MediaIo);
}

#[test]
fn a_stalled_call_can_be_cancelled() {
    let server = Server::new(|_| vec![("/silent", Reply::Silent)]);
    let cancel = Cancel::new();
    let call = Call::new(None, Some(cancel.clone()));
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        cancel.fire();
    });
    let error = server.sample("/silent", &VideoOptions::default(), &call).unwrap_err();
    assert_eq!(error.status(), Status::Cancelled);
}

#[test]
fn servers_cannot_have_local_files_opened() {
    let files = Files::new();
    let name = files.mp4.to_str().unwrap();
    let here = format!("file://{name}");
    let server = Server::new(|_| {
        vec![
            ("/to_file", Reply::Redirect(here.clone())),
            ("/to_path", Reply::Redirect(name.to_string())),
            ("/to_concat", Reply::Redirect(format!("concat:{name}|{name}"))),
            ("/file.m3u8", Reply::File(playlist(&here))),
            ("/path.m3u8", Reply::File(playlist(name))),
            ("/subfile.m3u8", Reply::File(playlist(&format!("subfile,,start,0,end,0,,:{name}")))),
            ("/list.ffconcat", Reply::File(format!("ffconcat version 1.0\nfile {here}\n").into_bytes())),
        ]
    });
    for path in ["/to_file", "/to_path", "/to_concat", "/file.m3u8", "/path.m3u8", "/subfile.m3u8", "/list.ffconcat"] {
        let (status, _) = server.fails(path);
        let refused = [Status::Forbidden, Status::MediaIo, Status::MediaFormat, Status::NoVideo, Status::Timeout];
        assert!(refused.contains(&status), "{path}: {status:?}");
    }
    // Nor does a local playlist lead anywhere, with the network allowed or not.
    let list = files.mp4.with_file_name("local.m3u8");
    for segment in [here, format!("{}/video.ts", server.address), name.to_string()] {
        std::fs::write(&list, playlist(&segment)).unwrap();
        for allow_network in [false, true] {
            let options = VideoOptions { allow_network, ..Default::default() };
            let error = pictures(Source::Path(&list), &options, &Call::default()).unwrap_err();
            assert_eq!(error.status(), Status::Forbidden, "{segment}: {error}");
        }
    }
}
