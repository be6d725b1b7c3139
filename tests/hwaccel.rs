//! Decoding by NVDEC, with a driver that stands in for NVIDIA's (`tests/c/nvdec.c`): it paints known pictures instead
//! of decoding, so that all of the way from the option to the pixels can be followed where there is no GPU.

mod support;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock};

use c4c::{pictures, Call, Color, HwAccel, Picture, Sampling, Seek, Source, Status, VideoOptions};
use support::media::{ffmpeg, test_video};

/// The driver, loaded by the names under which FFmpeg looks for it. One test has it at a time, since it counts.
struct Driver(usize);

impl Driver {
    fn get() -> MutexGuard<'static, Driver> {
        static DRIVER: OnceLock<Mutex<Driver>> = OnceLock::new();
        let driver = DRIVER.get_or_init(|| Mutex::new(Driver::load())).lock().unwrap_or_else(|e| e.into_inner());
        driver.set("nvdec_supports", 1);
        driver
    }

    fn load() -> Driver {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/nvdec.c");
        let nothing = folder.path().join("nothing.c");
        std::fs::write(&nothing, "").unwrap();
        let cuda = folder.path().join("libcuda.so.1");
        let build = |name: &str, parts: &[&Path]| -> usize {
            let path = folder.path().join(name);
            let mut cc = Command::new("cc");
            cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-Wl,--no-as-needed"]);
            cc.arg(format!("-Wl,-soname,{name}")).arg("-o").arg(&path).args(parts);
            assert!(cc.status().unwrap().success());
            let path = CString::new(path.to_str().unwrap()).unwrap();
            // SAFETY: a library of ours without initialisers. Whoever opens this name later gets the same one.
            let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
            assert!(!handle.is_null());
            handle as usize
        };
        let handle = build("libcuda.so.1", &[&source]);
        // dlsym looks into what it was linked with, too.
        build("libnvcuvid.so.1", &[&nothing, &cuda]);
        Driver(handle)
    }

    fn variable(&self, name: &str) -> *mut i32 {
        let name = CString::new(name).unwrap();
        // SAFETY: a handle that was opened and is never closed.
        let found = unsafe { libc::dlsym(self.0 as *mut libc::c_void, name.as_ptr()) };
        assert!(!found.is_null(), "{name:?}");
        found.cast()
    }

    fn set(&self, name: &str, value: i32) {
        // SAFETY: an int of the driver's, which nobody uses while this test has the driver.
        unsafe { self.variable(name).write(value) }
    }

    fn count(&self, name: &str) -> i32 {
        // SAFETY: as above.
        unsafe { self.variable(name).read() }
    }

    /// What a call came to, and how many decoders at once, pictures and copies of planes it took.
    fn during<T>(&self, work: impl FnOnce() -> T) -> (T, [i32; 3]) {
        let names = ["nvdec_most_open", "nvdec_pictures", "nvdec_copies"];
        names.iter().for_each(|name| self.set(name, 0));
        let result = work();
        assert_eq!((self.count("nvdec_open"), self.count("nvdec_mapped")), (0, 0), "left behind");
        (result, names.map(|name| self.count(name)))
    }
}

fn on_gpu() -> VideoOptions {
    VideoOptions { hwaccel: Some(HwAccel::Cuda(0)), ..Default::default() }
}

fn decode(path: &Path, options: &VideoOptions) -> c4c::Result<Vec<Picture>> {
    pictures(Source::Path(path), options, &Call::default()).map(|(pictures, _, whole)| {
        assert_eq!(whole, None);
        pictures
    })
}

/// As the driver paints it.
fn sample(number: usize, component: usize, x: usize, y: usize, deep: bool) -> u16 {
    let mix = number * 7 + component * 50 + x * (component + 1) + y * 3;
    (if deep { 64 + mix * 5 % 870 } else { 16 + mix % 219 }) as u16
}

/// The pictures of these numbers as RGB, by the ffmpeg command.
fn painted(numbers: &[usize], width: usize, height: usize, format: &str) -> Vec<Vec<u8>> {
    let deep = format.contains("10");
    let mut raw = Vec::new();
    for &number in numbers {
        for component in 0..3 {
            let by = if component == 0 { 1 } else { 2 };
            for (y, x) in (0..height / by).flat_map(|y| (0..width / by).map(move |x| (y, x))) {
                let bytes = sample(number, component, x, y, deep).to_le_bytes();
                raw.extend(&bytes[..if deep { 2 } else { 1 }]);
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw");
    std::fs::write(&path, raw).unwrap();
    let size = format!("{width}x{height}");
    let input = ["-f", "rawvideo", "-pix_fmt", format, "-s", &size, "-i", path.to_str().unwrap()];
    let output = ["-sws_flags", "bilinear", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    ffmpeg(&[&input[..], &output].concat()).chunks_exact(width * height * 3).map(<[u8]>::to_vec).collect()
}

fn videos() -> (tempfile::TempDir, impl Fn(&str, &str, u32, &[&str]) -> PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    (folder, move |name, size, frames, encode| {
        let path = path.join(name);
        test_video(&path, size, 25, frames, encode);
        path
    })
}

const X264: [&str; 4] = ["-c:v", "libx264", "-x264-params", "keyint=25:min-keyint=25:scenecut=0:bframes=3"];
const X265: [&str; 4] =
    ["-c:v", "libx265", "-x265-params", "keyint=25:min-keyint=25:scenecut=0:open-gop=0:log-level=none"];

/// Every wanted frame, and no other, comes from the GPU as the CPU would have given it: in its order, its size, its
/// format and its range.
#[test]
fn wanted_frames_come_back() {
    let driver = Driver::get();
    let (_folder, video) = videos();
    let tagged = Color::Tagged;
    let cases = [
        ("h264.mp4", X264, "yuv420p", (320, 240), tagged),
        // 16 and 2 rows and columns more are coded.
        ("cropped.mkv", X264, "yuv420p", (318, 178), tagged),
        ("stream.ts", X264, "yuv420p", (160, 120), tagged),
        ("full range.mp4", X264, "yuvj420p", (160, 120), tagged),
        // It tells the range by the format, which no frame on a GPU has.
        ("full range, operator.mp4", X264, "yuvj420p", (160, 120), Color::Operator),
        ("h265.mp4", X265, "yuv420p", (320, 240), tagged),
        ("h265 10 bit.mkv", X265, "yuv420p10le", (320, 240), tagged),
    ];
    for (name, encode, format, (width, height), color) in cases {
        let encode = [&encode[..], &["-pix_fmt", format]].concat();
        let path = video(name, &format!("{width}x{height}"), 77, &encode);
        let numbers: Vec<usize> = (0..12).map(|i| i * 76 / 11).collect();
        let in_group: Vec<usize> = numbers.iter().map(|n| n % 25).collect();
        let expected = painted(&in_group, width, height, format);
        for decode_threads in [Some(1), Some(4), Some(40)] {
            let options = VideoOptions { color, decode_threads, ..on_gpu() };
            let (pictures, [decoders, decoded, copies]) = driver.during(|| decode(&path, &options).unwrap());
            assert_eq!(pictures.iter().map(|p| p.number as usize).collect::<Vec<_>>(), numbers, "{name}");
            for (picture, expected) in pictures.iter().zip(&expected) {
                assert_eq!((picture.width, picture.height), (width, height), "{name}");
                assert!(&picture.rgb == expected, "{name}: frame {} is another", picture.number);
            }
            assert_eq!((decoders, copies), (1, 12 * 2), "{name}");
            assert!((12..=77).contains(&decoded), "{name}: {decoded}");
        }
    }
    assert_eq!(driver.count("nvdec_contexts"), 1);
}

#[test]
fn by_all_ways_to_frames() {
    let driver = Driver::get();
    let (folder, video) = videos();
    let path = video("video.mp4", "160x120", 100, &[&X264[..], &["-pix_fmt", "yuv420p"]].concat());
    let approximate = VideoOptions { seek: Seek::Approximate, ..on_gpu() };
    let keys = VideoOptions { sampling: Sampling::KeyFrames, ..on_gpu() };
    for (options, count) in [(approximate, 12), (keys, 4)] {
        let (pictures, [decoders, _, copies]) = driver.during(|| decode(&path, &options).unwrap());
        assert_eq!((pictures.len(), copies), (count, 2 * count as i32), "{:?}", options.seek);
        // FFmpeg makes a new one after a jump; the old one lives as long as the frame that is kept in case none
        // follows.
        assert!((1..=2).contains(&decoders), "{:?}: {decoders}", options.seek);
        let numbers: Vec<usize> = pictures.iter().map(|p| p.number as usize % 25).collect();
        let expected = painted(&numbers, 160, 120, "yuv420p");
        assert!(pictures.iter().zip(expected).all(|(p, rgb)| p.rgb == rgb), "{:?}", options.seek);
    }
    // The frame that stands for those that the container promises and that are not there is on the GPU, too.
    let short = folder.path().join("short.mkv");
    let cut =
        std::fs::read(video("long.mkv", "160x120", 100, &[&X264[..], &["-pix_fmt", "yuv420p"]].concat())).unwrap();
    std::fs::write(&short, &cut[..cut.len() * 3 / 5]).unwrap();
    let approximate = VideoOptions { seek: Seek::Approximate, ..on_gpu() };
    let (pictures, [decoders, _, copies]) = driver.during(|| decode(&short, &approximate).unwrap());
    assert_eq!((pictures.len(), copies), (12, 24));
    assert!((1..=2).contains(&decoders));
    assert_eq!(pictures[10].rgb, pictures[11].rgb);
    // Decoded from beginning to end.
    let whole = video("whole.avi", "160x120", 60, &[&X264[..], &["-pix_fmt", "yuv420p", "-bf", "0"]].concat());
    let ((found, total, why), [decoders, decoded, copies]) =
        driver.during(|| c4c::pictures(Source::Path(&whole), &on_gpu(), &Call::default()).unwrap());
    assert_eq!((found.len(), total, why.is_some()), (12, 60, true));
    assert_eq!((decoders, decoded, copies), (1, 60, 24));
    // Sixteen calls at once share one context.
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(decode(&path, &on_gpu()).unwrap().len(), 12));
        }
    });
    assert_eq!((driver.count("nvdec_contexts"), driver.count("nvdec_open")), (1, 0));
}

/// What the GPU does not take is decoded as without it, by as many threads.
#[test]
fn the_rest_is_the_cpus() {
    let driver = Driver::get();
    let (_folder, video) = videos();
    let x264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "20"];
    let h264 = video("h264.mp4", "160x120", 60, &x264);
    let deep = video("444.mkv", "160x120", 40, &["-c:v", "libx264", "-pix_fmt", "yuv444p"]);
    let vp9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"];
    let odd = video("odd.webm", "161x99", 40, &[&vp9[..], &["-pix_fmt", "yuv420p"]].concat());
    let av1 = ["-c:v", "libsvtav1", "-preset", "12", "-pix_fmt", "yuv420p"];
    let av1 = video("av1.mp4", "160x120", 40, &av1);
    let png = video("png.mov", "160x120", 20, &["-c:v", "png"]);
    let cut = video("cut.ts", "160x120", 60, &[&x264[..], &["-bf", "0"]].concat());
    std::fs::write(&cut, &std::fs::read(&cut).unwrap()[9400..]).unwrap();
    for (path, supports) in [(&h264, 0), (&deep, 1), (&odd, 1), (&av1, 0), (&png, 1), (&cut, 0)] {
        driver.set("nvdec_supports", supports);
        for seek in [Seek::Exact, Seek::Approximate] {
            for decode_threads in [Some(1), Some(4)] {
                let cpu = VideoOptions { seek, decode_threads, ..Default::default() };
                let gpu = VideoOptions { hwaccel: Some(HwAccel::Cuda(0)), ..cpu.clone() };
                let expected = decode(path, &cpu).unwrap();
                let (pictures, taken) = driver.during(|| decode(path, &gpu).unwrap());
                assert!(pictures == expected, "{}", path.display());
                assert_eq!(taken, [0; 3], "{}", path.display());
            }
        }
    }
    driver.set("nvdec_supports", 1);
    // It does not tell of damage.
    let strict = VideoOptions { strict_decode: true, ..on_gpu() };
    let (pictures, taken) = driver.during(|| decode(&h264, &strict).unwrap());
    assert_eq!((pictures.len(), taken), (12, [0; 3]));
}

#[test]
fn what_is_wrong_has_its_own_error() {
    let driver = Driver::get();
    let (folder, video) = videos();
    let path = video("video.mp4", "320x240", 30, &["-c:v", "libx264", "-pix_fmt", "yuv420p"]);
    let none = decode(&path, &VideoOptions { hwaccel: Some(HwAccel::Cuda(1)), ..Default::default() }).unwrap_err();
    assert_eq!(none.status(), Status::Device);
    for part in ["video.hwaccel", "CUDA device 1", "invalid device ordinal", "C4C_HWACCEL_NONE"] {
        assert!(none.message().contains(part), "`{none}` does not say `{part}`");
    }
    // A device takes memory for all of its surfaces at once: frames that are too large never get there. The container
    // of this one lies about its size.
    let (small, large) = (
        video("small.ts", "64x64", 100, &["-c:v", "libx264", "-pix_fmt", "yuv420p"]),
        video("large.ts", "640x480", 30, &["-c:v", "libx264", "-pix_fmt", "yuv420p"]),
    );
    let path = folder.path().join("grows.ts");
    std::fs::write(&path, [std::fs::read(small).unwrap(), std::fs::read(large).unwrap()].concat()).unwrap();
    let options = VideoOptions { max_pixels: 10_000, ..on_gpu() };
    let result = || pictures(Source::Path(&path), &options, &Call::default());
    let (result, _) = driver.during(result);
    assert_eq!(result.unwrap_err().status(), Status::Limit);
}
