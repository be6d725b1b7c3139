//! Pixels as asked for: colours by the tags or as the operator had them, pictures turned as the file asks, and YUV frames of
//! the caller's as if they came out of a file.

mod support;

use std::path::Path;

use c4c::{pictures, Call, Color, Frame, Log, Matrix, Model, Options, Picture, PixelFormat, Source, VideoOptions};
use support::checkpoint::{Writer, TINY};
use support::media::{ffmpeg, real_media, test_video};

fn sample(path: &Path, options: VideoOptions) -> Vec<Picture> {
    pictures(Source::Path(path), &options, &Call::default()).unwrap().0
}

/// The first frame as packed RGB, converted at full size by the ffmpeg command.
fn first_frame(path: &Path, before: &[&str], filter: &str) -> Vec<u8> {
    let input = ["-i", path.to_str().unwrap(), "-vf", filter, "-frames:v", "1", "-sws_flags", "bilinear"];
    ffmpeg(&[before, &input, &["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]].concat())
}

#[test]
fn colours_of_the_operator_s_day() {
    let folder = tempfile::tempdir().unwrap();
    let encode = |name: &str, arguments: &[&str]| {
        let path = folder.path().join(name);
        test_video(&path, "176x144", 25, 3, arguments);
        path
    };
    let bt709 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-colorspace", "bt709", "-color_range"];
    let limited = encode("limited.mp4", &[&bt709[..], &["tv"]].concat());
    let full = encode("full.mkv", &["-c:v", "ffv1", "-pix_fmt", "yuv420p", "-color_range", "pc"]);
    let full_format = encode("j.mp4", &["-c:v", "libx264", "-pix_fmt", "yuvj420p"]);
    let old = |path: &Path| sample(path, VideoOptions { color: Color::Operator, ..Default::default() }).remove(0).rgb;
    let now = |path: &Path| sample(path, VideoOptions::default()).remove(0).rgb;
    let untagged = "setparams=range=tv:colorspace=smpte170m";
    assert!(old(&limited) == first_frame(&limited, &[], untagged));
    assert!(old(&limited) != now(&limited));
    // A full range that only the tag tells is lost, one that the pixel format tells is not.
    assert!(now(&full_format) == first_frame(&full_format, &[], "null"));
    assert!(old(&full_format) == now(&full_format));
    assert!(now(&full) == first_frame(&full, &[], "null"));
    assert!(old(&full) == first_frame(&full, &[], untagged) && old(&full) != now(&full));
}

#[test]
fn turned_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let upright = folder.path().join("upright.mp4");
    test_video(&upright, "176x96", 25, 3, &["-c:v", "libx264", "-pix_fmt", "yuv420p"]);
    let mut paths = Vec::new();
    for degrees in ["90", "180", "270"] {
        let path = folder.path().join(format!("{degrees}.mp4"));
        let rotate = format!("rotate={degrees}");
        let arguments = ["-i", upright.to_str().unwrap(), "-c", "copy", "-metadata:s:v:0", &rotate];
        ffmpeg(&[&arguments[..], &[path.to_str().unwrap()]].concat());
        paths.push(path);
    }
    if let Some(media) = real_media() {
        let turned = ["decord_video_90.mov", "decord_video_180.mov", "decord_video_270.mov"];
        let reflected = ["media3_sample_rotate_and_reflect.mp4"];
        paths.extend(turned.iter().chain(&reflected).map(|name| media.join(name)).filter(|path| path.exists()));
    }
    for path in paths {
        // As a player shows it: the command turns by itself.
        let expected = first_frame(&path, &[], "null");
        let turned = sample(&path, VideoOptions { apply_rotation: true, ..Default::default() }).remove(0);
        assert!(turned.rgb == expected, "{}", path.display());
        let plain = sample(&path, VideoOptions::default()).remove(0);
        assert!(plain.rgb == first_frame(&path, &["-noautorotate"], "null"), "{}", path.display());
        assert!(plain.rgb != turned.rgb);
    }
}

#[test]
fn yuv_frames_are_as_those_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("tiny.bin");
    Writer::new(&TINY, 1).torch_save(&weights, "");
    let model = Model::load(Options::new(weights), Log::default()).unwrap();
    let matrices = [("smpte170m", Matrix::Bt601), ("bt709", Matrix::Bt709), ("bt2020nc", Matrix::Bt2020)];
    for (width, height) in [(64, 48), (101, 67), (7, 5), (1, 1), (350, 2)] {
        for ((colorspace, matrix), full_range) in matrices.iter().flat_map(|m| [(m, false), (m, true)]) {
            let path = folder.path().join("frames.mkv");
            let range = if full_range { "pc" } else { "tv" };
            // The test pattern has even sides only.
            let crop = format!("format=rgb24,crop={width}:{height},format=yuv420p");
            let ffv1 = ["-vf", &crop, "-c:v", "ffv1", "-colorspace", colorspace, "-color_range", range];
            test_video(&path, "400x100", 25, 1, &ffv1);
            let raw = ffmpeg(&["-i", path.to_str().unwrap(), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]);
            let picture = sample(&path, VideoOptions { num_frames: 1, ..Default::default() }).remove(0);
            let (luma, chroma) = raw.split_at(width * height);
            let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
            let (u, v) = chroma.split_at(half_width * half_height);
            let both: Vec<u8> = u.iter().zip(v).flat_map(|(&u, &v)| [u, v]).collect();
            let (row, half) = (width as isize, half_width as isize);
            let i420 = Frame::planar(PixelFormat::I420, width, height, &[(luma, row), (u, half), (v, half)]).unwrap();
            let nv12 = Frame::planar(PixelFormat::Nv12, width, height, &[(luma, row), (&both, half * 2)]).unwrap();
            // Bottom-up, as some cameras give it.
            let rows: Vec<&[u8]> = luma.chunks_exact(width).rev().collect();
            let upside_down = rows.concat();
            let planes = [(&upside_down[..], -row), (u, half), (v, half)];
            let flipped = Frame::planar(PixelFormat::I420, width, height, &planes).unwrap();
            let rgb = Frame::packed(PixelFormat::Rgb24, width, height, &picture.rgb).unwrap();
            let yuv = [i420, nv12, flipped].map(|f| f.with_colors(*matrix, full_range));
            let vectors = model.embed_images(&[rgb, yuv[0], yuv[1], yuv[2]], &Call::default()).unwrap();
            for other in 1..4 {
                assert_eq!(vectors.row(0), vectors.row(other), "{width}x{height} {colorspace} {range}: frame {other}");
            }
        }
    }
}
