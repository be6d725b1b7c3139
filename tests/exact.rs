//! The frames that stand for a video, against a full decode by the ffmpeg command: the same frames, at the same times, with
//! the same pixels before they are resized. Over codecs, containers, groups of pictures, pixel formats and times; and over the
//! folder of real videos that C4C_MEDIA names.
//!
//! With C4C_TABLE the results are written as a table into that Markdown file, between its two marks.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use c4c::{pictures, Call, Picture, Source, VideoOptions};
use support::media::{decode_all, ffmpeg, real_media, test_video};

/// What a full decode shows: the time of each frame in microseconds from the first.
fn full_decode(path: &Path) -> Vec<i64> {
    let output = Command::new("ffprobe")
        .args(["-v", "quiet", "-select_streams", "v", "-show_entries", "stream=index,time_base,disposition"])
        .args(["-show_entries", "frame=best_effort_timestamp", "-of", "default=nokey=0:noprint_wrappers=1"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let values = |key: &str| -> Vec<String> {
        let prefix = format!("{key}=");
        text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_string).collect()
    };
    let base = values("time_base");
    let (n, d) = base[0].split_once('/').unwrap();
    let (n, d): (f64, f64) = (n.parse().unwrap(), d.parse().unwrap());
    let pts: Vec<Option<i64>> = values("best_effort_timestamp").iter().map(|v| v.parse().ok()).collect();
    let first = pts.first().copied().flatten().unwrap_or(0);
    pts.iter().map(|p| ((p.unwrap_or(first) - first) as f64 * n / d * 1e6).round() as i64).collect()
}

fn uniform(total: usize) -> Vec<usize> {
    let step = (total - 1) as f64 / 11.0;
    let mut picks: Vec<usize> = (0..12).map(|i| if i == 11 { total - 1 } else { (i as f64 * step) as usize }).collect();
    picks.dedup();
    picks
}

/// A line of the table.
struct Row {
    name: String,
    frames: usize,
    /// Sampled frames that differ in time, if the stream has times.
    other_times: usize,
    /// The largest mean absolute difference of a sampled frame's bytes.
    difference: f64,
    how: &'static str,
}

fn compare(name: &str, path: &Path, threads: Option<usize>) -> Row {
    let options = VideoOptions { decode_threads: threads, ..Default::default() };
    let sample =
        |options| pictures(Source::Path(path), &options, &Call::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (mut ours, total, whole) = sample(options);
    if whole.is_some() {
        // As many threads as the other side has, since damage may be why.
        ours = sample(VideoOptions { decode_threads: Some(1), ..Default::default() }).0;
    }
    let times = full_decode(path);
    let (width, height) = (ours[0].width, ours[0].height);
    let all = decode_all(path, width, height);
    assert_eq!(total as usize, all.len(), "{name}: the number of frames ({whole:?})");
    let picks = uniform(all.len());
    let numbers: Vec<usize> = ours.iter().map(|p| p.number as usize).collect();
    assert_eq!(numbers, picks, "{name}");
    let difference = |picture: &Picture| {
        let theirs = &all[picture.number as usize];
        let sum: u64 = picture.rgb.iter().zip(theirs).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert_eq!(picture.rgb.len(), theirs.len(), "{name}");
        sum as f64 / theirs.len() as f64
    };
    // Streams without times have none to compare.
    let timed = times.len() == all.len() && times.windows(2).all(|pair| pair[0] < pair[1]);
    let other = |p: &&Picture| timed && (p.time_us - times[p.number as usize]).abs() > 1;
    Row {
        name: name.into(),
        frames: all.len(),
        other_times: ours.iter().filter(other).count(),
        difference: ours.iter().map(difference).fold(0.0, f64::max),
        how: whole.unwrap_or("–"),
    }
}

type Make<'a> = (&'a str, u32, Vec<&'a str>);

/// File name, frames, and what encodes them.
fn encodings() -> Vec<Make<'static>> {
    let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
    let x264 = |rest: &'static str| [words("-c:v libx264 -preset veryfast -pix_fmt yuv420p"), words(rest)].concat();
    let x265 = |rest: &'static str| {
        [words("-c:v libx265 -preset veryfast -pix_fmt yuv420p -x265-params"), words(rest)].concat()
    };
    vec![
        ("h264 b-frames.mp4", 77, x264("-bf 3 -g 25")),
        ("h264 pyramid.mkv", 77, x264("-bf 5 -g 30 -b-pyramid normal")),
        ("h264 one group.mp4", 90, x264("-g 1000")),
        ("h264 keys only.mp4", 40, x264("-g 1")),
        ("h264 open groups.mp4", 80, x264("-bf 3 -x264-params open-gop=1:keyint=15")),
        ("h264 open groups.mkv", 80, x264("-bf 3 -x264-params open-gop=1:keyint=15")),
        ("h264 open groups.ts", 80, x264("-bf 3 -x264-params open-gop=1:keyint=15")),
        ("h264 intra refresh.mkv", 80, x264("-x264-params intra-refresh=1:keyint=20")),
        ("h264 interlaced.mp4", 60, x264("-flags +ildct+ilme -x264-params tff=1:keyint=15")),
        ("h264 interlaced.ts", 60, x264("-flags +ildct+ilme -x264-params tff=1:keyint=15")),
        ("h264 slices.ts", 60, x264("-x264-params slices=4:keyint=20")),
        ("h264 baseline.flv", 60, x264("-profile:v baseline -g 20")),
        ("h264.avi", 60, x264("-bf 2 -g 20")),
        ("h264 elementary.h264", 60, x264("-bf 2 -g 20")),
        ("h264 fragments.mp4", 60, x264("-g 20 -movflags +frag_keyframe+empty_moov")),
        ("h264 faststart.mov", 60, x264("-g 20 -movflags +faststart")),
        ("h264 10 bit.mp4", 40, words("-c:v libx264 -pix_fmt yuv420p10le -g 15")),
        ("h264 422 10 bit.mkv", 40, words("-c:v libx264 -pix_fmt yuv422p10le -g 15")),
        ("h264 444.mp4", 40, words("-c:v libx264 -pix_fmt yuv444p -g 15")),
        ("h264 gray.mkv", 40, words("-c:v libx264 -pix_fmt gray -g 15")),
        ("h264 rgb.mkv", 40, words("-c:v libx264rgb -pix_fmt bgr24 -g 15")),
        ("h264 full range.mp4", 40, words("-c:v libx264 -pix_fmt yuvj420p -g 15")),
        ("h264 bt709.mp4", 40, x264("-g 15 -colorspace bt709 -color_primaries bt709 -color_trc bt709")),
        (
            "h264 bt2020 pq.mp4",
            40,
            words("-c:v libx264 -pix_fmt yuv420p10le -colorspace bt2020nc -color_trc smpte2084"),
        ),
        ("h264 anamorphic.mp4", 40, x264("-g 15 -aspect 16:9")),
        ("h265.mp4", 77, x265("keyint=25:log-level=error")),
        ("h265 open groups.mkv", 77, x265("open-gop=1:keyint=20:bframes=4:log-level=error")),
        ("h265 closed groups.ts", 77, x265("open-gop=0:keyint=20:log-level=error")),
        ("h265 layers.mp4", 77, x265("temporal-layers=3:keyint=30:bframes=4:log-level=error")),
        ("h265 12 bit.mkv", 30, words("-c:v libx265 -pix_fmt yuv420p12le -x265-params log-level=error")),
        ("vp8 alt-ref.webm", 80, words("-c:v libvpx -auto-alt-ref 1 -lag-in-frames 16 -g 30 -b:v 200k")),
        (
            "vp9 alt-ref.webm",
            80,
            words("-c:v libvpx-vp9 -auto-alt-ref 1 -lag-in-frames 16 -g 30 -cpu-used 8 -b:v 200k"),
        ),
        ("vp9.mp4", 60, words("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 20 -b:v 200k")),
        ("vp9 alpha.webm", 30, words("-c:v libvpx-vp9 -pix_fmt yuva420p -cpu-used 8 -b:v 200k")),
        ("vp9 10 bit 444.mkv", 30, words("-c:v libvpx-vp9 -pix_fmt yuv444p10le -cpu-used 8 -b:v 200k")),
        ("av1.mkv", 60, words("-c:v libsvtav1 -preset 12 -g 20 -pix_fmt yuv420p")),
        ("av1.mp4", 60, words("-c:v libaom-av1 -cpu-used 8 -g 20 -lag-in-frames 16 -b:v 200k")),
        ("mpeg1.mpg", 60, words("-c:v mpeg1video -g 12 -bf 2 -b:v 800k")),
        ("mpeg2 open groups.ts", 60, words("-c:v mpeg2video -g 12 -bf 2 -b:v 800k")),
        (
            "mpeg2 closed groups.mpg",
            60,
            words("-c:v mpeg2video -g 12 -bf 2 -flags +cgop -sc_threshold 1000000000 -b:v 800k"),
        ),
        ("mpeg2 interlaced.mkv", 60, words("-c:v mpeg2video -g 12 -bf 2 -flags +ildct+ilme -b:v 800k")),
        ("mpeg4.avi", 60, words("-c:v mpeg4 -bf 2 -g 20 -q:v 4")),
        ("mpeg4.mp4", 60, words("-c:v mpeg4 -bf 2 -g 20 -q:v 4")),
        ("msmpeg4.wmv", 60, words("-c:v wmv2 -g 20 -q:v 4")),
        ("theora.ogv", 60, words("-c:v libtheora -g 20 -q:v 5")),
        ("mjpeg.avi", 40, words("-c:v mjpeg -q:v 4")),
        ("mjpeg.mov", 40, words("-c:v mjpeg -q:v 4")),
        ("prores 422 10 bit.mov", 30, words("-c:v prores_ks -profile:v 2")),
        ("dnxhd.mxf", 20, words("-vf scale=1280:720 -c:v dnxhd -b:v 60M -pix_fmt yuv422p")),
        ("ffv1 groups.mkv", 40, words("-c:v ffv1 -g 10")),
        ("png alpha.mov", 30, words("-c:v png -pix_fmt rgba")),
        ("huffyuv.avi", 30, words("-c:v huffyuv -pix_fmt yuv422p")),
        ("raw.nut", 30, words("-c:v rawvideo -pix_fmt yuv420p")),
        ("palette.mov", 30, words("-vf format=rgb24,format=pal8 -c:v qtrle -pix_fmt rgb24")),
        ("palette.gif", 30, words("-c:v gif")),
        ("flash.flv", 60, words("-c:v flv1 -g 20 -q:v 4")),
    ]
}

/// Files that no encoder writes at once.
fn odd_files(folder: &Path) -> Vec<(String, PathBuf)> {
    let path = |name: &str| folder.join(name);
    let text = |path: &Path| path.to_str().unwrap().to_string();
    let (whole, ts) = (path("whole.mp4"), path("whole.ts"));
    let x264 = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "3", "-g", "25"];
    test_video(&whole, "160x120", 25, 100, &x264);
    test_video(&ts, "160x120", 25, 100, &[&x264[..], &["-x264-params", "open-gop=1"]].concat());
    let mut made = Vec::new();
    let mut add = |name: &str, make: &dyn Fn(&Path)| {
        let path = path(name);
        make(&path);
        made.push((name.to_string(), path));
    };
    add("edit list.mp4", &|p| drop(ffmpeg(&["-ss", "1.3", "-i", &text(&whole), "-c", "copy", &text(p)])));
    add("variable rate.mp4", &|p| {
        let select = "select='not(mod(n,7))+between(n,30,50)'";
        let input = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=5", "-vf", select, "-vsync", "vfr"];
        ffmpeg(&[&input[..], &x264, &[&text(p)]].concat());
    });
    add("longer audio.mp4", &|p| {
        let input = ["-i", &text(&whole), "-f", "lavfi", "-i", "sine=duration=7", "-c:v", "copy"];
        ffmpeg(&[&input[..], &["-c:a", "aac", &text(p)]].concat());
    });
    add("late start.ts", &|p| drop(ffmpeg(&["-i", &text(&whole), "-c", "copy", "-output_ts_offset", "500", &text(p)])));
    add("cut in front.ts", &|p| {
        let bytes = std::fs::read(&ts).unwrap();
        std::fs::write(p, &bytes[bytes.len() / 5 / 188 * 188..]).unwrap();
    });
    add("two in a row.ts", &|p| {
        let bytes = std::fs::read(&ts).unwrap();
        std::fs::write(p, [&bytes[..], &bytes].concat()).unwrap();
    });
    add("end missing.ts", &|p| {
        let bytes = std::fs::read(&ts).unwrap();
        std::fs::write(p, &bytes[..bytes.len() * 3 / 4 / 188 * 188]).unwrap();
    });
    add("no cues.mkv", &|p| {
        // To a pipe, so that the muxer cannot go back and write its index.
        let bytes = ffmpeg(&["-i", &text(&whole), "-c", "copy", "-f", "matroska", "-"]);
        std::fs::write(p, bytes).unwrap();
    });
    add("negative times.mkv", &|p| {
        let args = ["-i", &text(&whole), "-c", "copy", "-avoid_negative_ts", "disabled", "-output_ts_offset", "-1.5"];
        ffmpeg(&[&args[..], &[&text(p)]].concat());
    });
    made
}

#[test]
fn the_frames_of_a_full_decode() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = odd_files(folder.path());
    for (name, frames, encode) in encodings() {
        let path = folder.path().join(name);
        // A side that is no multiple of 16, and enough pixels that nothing is trivial.
        test_video(&path, "172x124", 25, frames, &encode);
        files.push((name.to_string(), path));
    }
    let mut rows: Vec<Row> = files.iter().map(|(name, path)| compare(name, path, Some(2))).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(media) = real_media() {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(media).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let has_video = pictures(Source::Path(&path), &VideoOptions::default(), &Call::default()).is_ok();
            if has_video {
                let best = best_stream_alone(&path, folder.path());
                rows.push(compare(&name, best.as_deref().unwrap_or(&path), None));
            }
        }
    }
    let table: String = rows
        .iter()
        .map(|r| format!("| {} | {} | {} | {} | {} |\n", r.name, r.frames, r.other_times, r.difference, r.how))
        .collect();
    println!("{table}");
    if let Some(path) = std::env::var_os("C4C_TABLE") {
        write_table(Path::new(&path), &table);
    }
    for row in &rows {
        assert_eq!((row.other_times, row.difference), (0, 0.0), "{}", row.name);
    }
}

/// ffprobe looks at all video streams and the library at one: of a file with several, that one alone.
fn best_stream_alone(path: &Path, folder: &Path) -> Option<PathBuf> {
    let probe = Command::new("ffprobe")
        .args(["-v", "quiet", "-select_streams", "v", "-show_entries", "stream=index", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    if String::from_utf8_lossy(&probe.stdout).lines().count() < 2 {
        return None;
    }
    let alone = folder.join("alone.mp4");
    ffmpeg(&["-i", path.to_str()?, "-an", "-c", "copy", alone.to_str()?]);
    Some(alone)
}

fn write_table(path: &Path, table: &str) {
    const BEGIN: &str = "<!-- table -->\n";
    const END: &str = "<!-- end of table -->";
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let head = "| file | frames | sampled at another time | mean difference | decoded as a whole, since |\n|---|---|---|---|---|\n";
    std::fs::write(path, format!("{before}{BEGIN}{head}{table}{END}{after}")).unwrap();
}

/// One decoder, several side by side, and many threads find the same.
#[test]
fn threads_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("groups.mp4");
    let x264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "3", "-x264-params", "open-gop=1:keyint=12"];
    test_video(&path, "160x120", 25, 200, &x264);
    let find = |threads, num_frames| {
        let options = VideoOptions { decode_threads: Some(threads), num_frames, ..Default::default() };
        let (pictures, _, whole) = pictures(Source::Path(&path), &options, &Call::default()).unwrap();
        assert_eq!(whole, None);
        pictures
    };
    for num_frames in [1, 2, 12, 200] {
        let one = find(1, num_frames);
        assert_eq!(one.len(), num_frames);
        for threads in [2, 3, 8] {
            assert!(find(threads, num_frames) == one, "{num_frames} frames on {threads} threads");
        }
    }
}
