//! What a GPU computes, computed by the same operators on tensors of the CPU, against what the CPU path makes of the same pictures.

use std::path::{Path, PathBuf};

use super::*;
use crate::error::Status;
use crate::image::{FrameInfo, Matrix, Orientation, PixelFormat};
use crate::options::VideoOptions;
use crate::runtime::Call;
use crate::video::{pictures, Source};

const FORMATS: [PixelFormat; 7] = [
    PixelFormat::Rgb24,
    PixelFormat::Bgr24,
    PixelFormat::Rgba,
    PixelFormat::Bgra,
    PixelFormat::Gray8,
    PixelFormat::I420,
    PixelFormat::Nv12,
];

/// A picture in memory, with gaps between rows, and rows bottom-up where asked for.
struct Stored {
    info: FrameInfo,
    planes: Vec<(Vec<u8>, isize)>,
    device: Device,
}

impl Stored {
    /// `value(plane, x, y)` is a byte of a plane.
    fn new(
        format: PixelFormat,
        (width, height): (usize, usize),
        bottom_up: [bool; 3],
        value: &dyn Fn(usize, usize, usize) -> u8,
    ) -> Self {
        let plane = |plane: usize| {
            let (row, rows) = format.plane_size(plane, width, height).unwrap();
            let stride = row + 5 + plane;
            let mut bytes = vec![77; stride * (rows - 1) + row];
            for (y, x) in (0..rows).flat_map(|y| (0..row).map(move |x| (y, x))) {
                let place = if bottom_up[plane] { rows - 1 - y } else { y };
                bytes[place * stride + x] = value(plane, x, y);
            }
            (bytes, if bottom_up[plane] { -(stride as isize) } else { stride as isize })
        };
        let orientation = Orientation::default();
        let info = FrameInfo { format, width, height, matrix: Matrix::Bt601, full_range: false, orientation };
        Stored { info, planes: (0..format.planes()).map(plane).collect(), device: Device::Cpu }
    }

    fn frame(&self) -> Frame<'_> {
        let planes: Vec<_> = self.planes.iter().map(|(bytes, stride)| (&bytes[..], *stride)).collect();
        Frame::of(self.info, &planes).unwrap()
    }

    /// As if the process's memory were a GPU's.
    fn device_frame(&self) -> DeviceFrame {
        let plane = |(i, (bytes, stride)): (usize, &(Vec<u8>, isize))| {
            let rows = self.info.format.plane_size(i, self.info.width, self.info.height).unwrap().1;
            let top = if *stride < 0 { (rows - 1) * stride.unsigned_abs() } else { 0 };
            (bytes[top..].as_ptr(), *stride)
        };
        let planes = self.planes.iter().enumerate().map(plane).collect();
        // SAFETY: the rows lie in vectors that outlive the frames of these tests.
        unsafe { DeviceFrame::new(self.info, planes, self.device, std::ptr::null_mut()) }
    }
}

/// How many bytes of the two squares differ, and by how much at most.
fn difference(squares: &mut Squares, stored: &Stored) -> (usize, u8) {
    let host = squares.of(&[stored.frame()][..].into(), 0).unwrap();
    let device = squares.of(&AnyFrames::Device(vec![stored.device_frame()]), 0).unwrap();
    assert_eq!(host.len(), device.len());
    let off = host.iter().zip(device.iter()).map(|(a, b)| a.abs_diff(*b));
    (off.clone().filter(|&d| d > 0).count(), off.max().unwrap())
}

fn check(squares: &mut Squares, stored: &Stored, name: &str) -> usize {
    let (differing, most) = difference(squares, stored);
    // Elsewhere swscale rounds YUV differently.
    let exact = cfg!(target_arch = "x86_64") || stored.info.format.planes() == 1;
    assert!(most <= if exact { 0 } else { 2 }, "{name}: {:?}: {differing} bytes by up to {most}", stored.info);
    differing
}

fn noise(seed: u32) -> impl Fn(usize, usize, usize) -> u8 {
    move |plane, x, y| {
        let mut hash = seed ^ (plane as u32).wrapping_mul(0x9e3779b9) ^ (x as u32).wrapping_mul(0x85ebca6b);
        hash = (hash ^ (y as u32).wrapping_mul(0xc2b2ae35) ^ (hash >> 15)).wrapping_mul(0x2c1b3c6d);
        ((hash ^ (hash >> 12)).wrapping_mul(0x297a2d39) >> 24) as u8
    }
}

fn gradient(plane: usize, x: usize, y: usize) -> u8 {
    (x * (plane + 1) / 3 + y / 2) as u8
}

#[test]
fn every_format_and_size_gives_the_bytes_of_the_cpu_path() {
    let sizes = [
        (320, 240),
        (240, 320),
        (224, 224),
        (225, 224),
        (226, 225),
        (100, 60),
        (7, 5),
        (6, 4),
        (5, 4),
        (1, 2),
        (1, 1),
        (41, 500),
        (300, 2),
        (1920, 1080),
    ];
    let mut squares = Squares::new(224);
    for (size, format) in sizes.into_iter().flat_map(|size| FORMATS.map(|format| (size, format))) {
        check(&mut squares, &Stored::new(format, size, [false; 3], &noise(1)), "noise");
        check(&mut squares, &Stored::new(format, size, [false; 3], &gradient), "gradient");
        // All of the way from black to white, where a filter overshoots.
        check(&mut squares, &Stored::new(format, size, [false; 3], &|_, x, y| ((x + y) % 2 * 255) as u8), "board");
    }
}

#[test]
fn pictures_larger_than_what_is_worked_on_at_a_time() {
    let mut squares = Squares::new(64);
    for (format, turn) in [(PixelFormat::Nv12, 0), (PixelFormat::Nv12, 1), (PixelFormat::Bgr24, 3)] {
        let mut stored = Stored::new(format, (3001, 2002), [false; 3], &noise(2));
        stored.info.orientation = Orientation::clockwise(turn);
        check(&mut squares, &stored, "large");
    }
}

#[test]
fn every_orientation_and_direction_of_rows() {
    let mut squares = Squares::new(32);
    let turns = (0..8).map(|n| Orientation { transpose: n & 1 != 0, flip_x: n & 2 != 0, flip_y: n & 4 != 0 });
    for (orientation, format) in turns.flat_map(|turn| FORMATS.map(|format| (turn, format))) {
        for size in [(90, 50), (41, 72), (33, 64)] {
            for bottom_up in [[false; 3], [true; 3], [true, false, false], [false, true, false]] {
                let mut stored = Stored::new(format, size, bottom_up, &noise(3));
                stored.info.orientation = orientation;
                check(&mut squares, &stored, "turned");
            }
        }
    }
}

#[test]
fn every_matrix_and_range() {
    let mut squares = Squares::new(32);
    for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
        for (format, full_range) in
            [PixelFormat::I420, PixelFormat::Nv12].into_iter().flat_map(|f| [(f, true), (f, false)])
        {
            // At their own size, so that nothing hides behind the filter: all lumas with some of the chromas.
            for (x0, y0) in [(0, 0), (64, 192), (128, 128), (224, 16)] {
                let value = |plane: usize, x: usize, y: usize| match plane {
                    0 => (x + 32 * (y % 8)) as u8,
                    1 if format == PixelFormat::Nv12 && x % 2 == 1 => (y0 + 2 * y) as u8,
                    1 if format == PixelFormat::Nv12 => (x0 + x) as u8,
                    1 => (x0 + 2 * x) as u8,
                    _ => (y0 + 2 * y) as u8,
                };
                let mut stored = Stored::new(format, (32, 32), [false; 3], &value);
                (stored.info.matrix, stored.info.full_range) = (matrix, full_range);
                check(&mut squares, &stored, "colours");
            }
        }
    }
}

/// Frames of the demonstration's videos and, where somebody has one, of a folder of real ones.
#[test]
fn pictures_of_videos() {
    let folders = [
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/videos")),
        std::env::var_os("C4C_MEDIA").map(PathBuf::from).filter(|folder| folder.is_dir()),
    ];
    let options = VideoOptions { num_frames: 2, ..Default::default() };
    let (mut squares, mut seen) = (Squares::new(224), 0);
    let (mut bytes, mut differing) = (0, 0);
    for folder in folders.into_iter().flatten() {
        let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths.into_iter().take(15) {
            let Ok((frames, ..)) = pictures(Source::Path(&path), &options, &Call::default()) else { continue };
            for (picture, format) in frames.iter().flat_map(|picture| FORMATS.map(|format| (picture, format))) {
                let pixel = |x: usize, y: usize| {
                    let at = (y.min(picture.height - 1) * picture.width + x.min(picture.width - 1)) * 3;
                    [picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]]
                };
                let value = |plane: usize, x: usize, y: usize| {
                    let bytes = format.bytes();
                    let chroma = |u: bool, x: usize| {
                        let [r, g, b] = pixel(2 * x, 2 * y).map(f64::from);
                        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
                        (128.0 + if u { (b - luma) / 2.02 } else { (r - luma) / 1.6 }) as u8
                    };
                    match (format, plane) {
                        (PixelFormat::Gray8 | PixelFormat::I420 | PixelFormat::Nv12, 0) => pixel(x, y)[1],
                        (PixelFormat::Nv12, _) => chroma(x.is_multiple_of(2), x / 2),
                        (PixelFormat::I420, _) => chroma(plane == 1, x),
                        _ => pixel(x / bytes, y).get(x % bytes).copied().unwrap_or(9),
                    }
                };
                let stored = Stored::new(format, (picture.width, picture.height), [false; 3], &value);
                differing += check(&mut squares, &stored, &path.display().to_string());
                bytes += 3 * 224 * 224;
            }
            seen += frames.len();
        }
    }
    println!("{seen} pictures, {bytes} bytes, of which {differing} differ");
    assert!(seen > 0);
}

#[test]
fn gradients_are_on_again() {
    let stored = Stored::new(PixelFormat::Rgb24, (9, 9), [false; 3], &gradient);
    difference(&mut Squares::new(8), &stored);
    let variable = tch::Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
    assert!((&variable * 2.0).requires_grad());
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_that_says_why() {
    let mut stored = Stored::new(PixelFormat::Gray8, (9, 9), [false; 3], &gradient);
    let here = stored.device_frame();
    stored.device = Device::Cuda(1000);
    let frames = AnyFrames::Device(vec![here, stored.device_frame()]);
    let error = check_devices(&frames).unwrap_err();
    assert_eq!(error.status(), Status::Device);
    let expected = match cuda_devices() {
        Ok(n) => format!("frames[1]: device_index: the frame is in GPU memory, which cannot be used: there is no cuda:1000 among the {n}"),
        Err(why) => format!("frames[1]: location: the frame is in GPU memory, which cannot be used: {why}"),
    };
    assert!(error.message().starts_with(&expected), "{error}");
}
