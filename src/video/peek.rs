//! What the first bytes of a packet tell about its frame, without decoding it.
//!
//! Layouts: ITU-T H.264 7.3.1 and D.1.8, ITU-T H.265 7.3.1.2, RFC 6386 9.1 (VP8), the VP9 bitstream specification 6.2 and
//! annex B, the AV1 bitstream specification 5.3.2, ISO 13818-2 6.2.2.

use std::hash::{DefaultHasher, Hash, Hasher};

use ffmpeg_next::codec::Id;

/// What an index keeps of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    pub entry: bool,
    pub droppable: bool,
    pub shown: u8,
    pub layer: u8,
}

/// What is known of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peek {
    /// Decoding can begin here, and everything that is shown from here on comes out as in a full decode.
    pub entry: bool,
    /// No other frame needs this one, and nothing else is in its packet.
    pub droppable: bool,
    /// Frames that it shows; for most codecs one.
    pub shown: u8,
    /// H.265's temporal sub-layer: frames of the highest one only can be left out.
    pub layer: u8,
    /// Of H.264: coded pictures, which are frames or fields.
    pub pictures: u8,
    /// A fingerprint of the parameter sets that it brings.
    pub parameters: Option<u64>,
    /// It ends a sequence: what comes next begins anew.
    pub ends: bool,
    /// It has decoders drop frames that were to be shown.
    pub drops: bool,
}

impl Peek {
    pub(super) fn kept(self) -> Kept {
        let Peek { entry, droppable, shown, layer, .. } = self;
        Kept { entry, droppable, shown, layer }
    }
}

/// How the packets of one stream are read.
pub(super) struct Peeker {
    codec: Id,
    /// Bytes that state the length of a NAL unit; 0: start codes stand between them.
    nal_length: usize,
}

impl Peeker {
    /// None for codecs whose packets say too little: their streams are decoded as a whole.
    pub(super) fn new(codec: Id, extradata: &[u8]) -> Option<Peeker> {
        let nal_length = match (codec, extradata) {
            (Id::H264, [1, _, _, _, sizes, ..]) => usize::from(sizes & 3) + 1,
            (Id::HEVC, [1, rest @ ..]) => rest.get(20).map_or(4, |sizes| usize::from(sizes & 3) + 1),
            _ => 0,
        };
        match codec {
            Id::H264 | Id::HEVC | Id::VP8 | Id::VP9 | Id::AV1 | Id::MPEG1VIDEO | Id::MPEG2VIDEO => {}
            // FFmpeg calls more of them intra-only, of which some go on from the frame before or show none.
            Id::MJPEG | Id::PRORES | Id::DNXHD | Id::RAWVIDEO | Id::HUFFYUV | Id::FFVHUFF | Id::UTVIDEO => {}
            Id::DVVIDEO | Id::V210 | Id::JPEG2000 | Id::PNG => {}
            _ => return None,
        }
        Some(Peeker { codec, nal_length })
    }

    /// `key` is the container's word that decoding can begin here.
    pub(super) fn look(&self, data: &[u8], key: bool) -> Peek {
        let plain = Peek { entry: key, shown: 1, ..Peek::default() };
        match self.codec {
            Id::H264 => h264(self.nals(data), key),
            Id::HEVC => hevc(self.nals(data)),
            Id::VP8 => match data.first() {
                Some(tag) => Peek { entry: tag & 1 == 0, shown: tag >> 4 & 1, ..plain },
                None => Peek { shown: 0, ..plain },
            },
            Id::VP9 => vp9(data),
            Id::AV1 => Peek { entry: key && has_sequence_header(data), shown: u8::from(!data.is_empty()), ..plain },
            Id::MPEG1VIDEO | Id::MPEG2VIDEO => mpeg(data, key),
            _ => Peek { entry: true, droppable: true, shown: u8::from(!data.is_empty()), ..plain },
        }
    }

    fn nals<'a>(&self, data: &'a [u8]) -> Nals<'a> {
        Nals { rest: data, length: self.nal_length }
    }
}

/// The NAL units of a packet.
struct Nals<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Iterator for Nals<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.length > 0 {
            let (length, rest) = self.rest.split_at_checked(self.length)?;
            let length = length.iter().fold(0usize, |n, &byte| n << 8 | usize::from(byte));
            let (nal, rest) = rest.split_at_checked(length.min(rest.len()))?;
            self.rest = rest;
            return Some(nal);
        }
        let start = start_code(self.rest)? + 3;
        let nal = &self.rest[start..];
        let end = start_code(nal).unwrap_or(nal.len());
        self.rest = &nal[end..];
        Some(&nal[..end])
    }
}

/// Where the next 00 00 01 is.
fn start_code(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at + 3 <= data.len() {
        match data[at + 2] {
            0 => at += 1,
            1 if data[at] == 0 && data[at + 1] == 0 => return Some(at),
            _ => at += 3,
        }
    }
    None
}

fn h264<'a>(nals: impl Iterator<Item = &'a [u8]>, key: bool) -> Peek {
    let (mut idr, mut recovery, mut referenced, mut slices, mut pictures) = (false, false, false, 0, 0u8);
    let mut parameters = Fingerprint::default();
    for nal in nals {
        let Some(&header) = nal.first() else { continue };
        match header & 31 {
            kind @ 1..=5 => {
                slices += 1;
                idr |= kind == 5;
                referenced |= header >> 5 & 3 != 0;
                // first_mb_in_slice is 0; partitions B and C do not begin so.
                let first = kind != 3 && kind != 4 && nal.get(1).is_some_and(|bits| bits & 0x80 != 0);
                pictures = pictures.saturating_add(first.into());
            }
            6 => recovery |= has_exact_recovery_point(&nal[1..]),
            7 | 8 | 13 | 15 => parameters.add(nal),
            _ => {}
        }
    }
    Peek {
        entry: idr || key && recovery,
        droppable: slices > 0 && !referenced && parameters.0.is_none(),
        shown: u8::from(slices > 0),
        pictures,
        parameters: parameters.0,
        ..Peek::default()
    }
}

/// Whether an SEI message says that everything from here on is exact, at once: `recovery_frame_cnt` 0 and
/// `exact_match_flag` 1.
fn has_exact_recovery_point(mut sei: &[u8]) -> bool {
    let number = |sei: &mut &[u8]| {
        let mut sum = 0usize;
        while let [byte, rest @ ..] = *sei {
            *sei = rest;
            sum += usize::from(*byte);
            if *byte != 255 {
                break;
            }
        }
        sum
    };
    while sei.len() > 2 {
        let (kind, size) = (number(&mut sei), number(&mut sei));
        if kind == 6 {
            return sei.first().is_some_and(|bits| bits & 0xc0 == 0xc0);
        }
        sei = sei.get(size..).unwrap_or_default();
    }
    false
}

fn hevc<'a>(nals: impl Iterator<Item = &'a [u8]>) -> Peek {
    let mut peek = Peek::default();
    let mut slices = 0;
    let mut parameters = Fingerprint::default();
    for nal in nals {
        let [first, second, ..] = *nal else { continue };
        let (kind, in_base_layer) = (first >> 1 & 63, first & 1 == 0 && second >> 3 == 0);
        if kind < 32 && in_base_layer {
            let unreferenced = kind < 16 && kind % 2 == 0;
            peek.droppable = unreferenced && (slices == 0 || peek.droppable);
            peek.entry |= (16..=21).contains(&kind);
            peek.layer = peek.layer.max((second & 7).saturating_sub(1));
            // Behind a BLA, what is shown before it is dropped; no_output_of_prior_pics_flag drops what was before.
            let drops_before = nal.get(2).is_some_and(|bits| bits & 0x40 != 0);
            peek.drops |= (16..=18).contains(&kind) || ((16..=23).contains(&kind) && drops_before);
            peek.shown = 1;
            slices += 1;
        }
        if (32..=34).contains(&kind) {
            parameters.add(nal);
        }
        peek.ends |= kind == 36 || kind == 37;
    }
    peek.parameters = parameters.0;
    peek.droppable &= peek.parameters.is_none();
    peek
}

/// Of the parameter sets of a packet.
#[derive(Default)]
struct Fingerprint(Option<u64>);

impl Fingerprint {
    fn add(&mut self, nal: &[u8]) {
        let mut hash = DefaultHasher::new();
        (self.0, nal).hash(&mut hash);
        self.0 = Some(hash.finish());
    }
}

fn vp9(data: &[u8]) -> Peek {
    let mut peek = Peek::default();
    let mut frames = superframe(data).into_iter().filter(|frame| !frame.is_empty());
    if let Some((entry, shown)) = frames.next().map(vp9_frame) {
        peek = Peek { entry, shown, ..peek };
    }
    peek.shown += frames.map(|frame| vp9_frame(frame).1).sum::<u8>();
    peek
}

/// The frames that lie in one packet of VP9.
fn superframe(data: &[u8]) -> Vec<&[u8]> {
    let Some(&marker) = data.last() else { return Vec::new() };
    let (frames, bytes) = (usize::from(marker & 7) + 1, usize::from(marker >> 3 & 3) + 1);
    let index = data.len().checked_sub(2 + frames * bytes).map(|start| &data[start..]);
    match index {
        Some([first, sizes @ .., _]) if marker & 0xe0 == 0xc0 && *first == marker => {
            let mut rest = data;
            let mut next = |size: &[u8]| {
                let size = size.iter().rev().fold(0usize, |n, &byte| n << 8 | usize::from(byte));
                let (frame, others) = rest.split_at(size.min(rest.len()));
                rest = others;
                frame
            };
            sizes.chunks_exact(bytes).map(&mut next).collect()
        }
        _ => vec![data],
    }
}

/// Whether it is a key frame, and how many frames it shows.
fn vp9_frame(frame: &[u8]) -> (bool, u8) {
    let Some(&first) = frame.first() else { return (false, 0) };
    // frame_marker 2, profile's low and high bit, and a reserved bit in profile 3 only.
    let after = if first >> 4 & 3 == 3 { 3 } else { 4 };
    let bit = |n: u8| first >> (after - n - 1) & 1;
    let (show_existing, inter, show) = (bit(0), bit(1), bit(2));
    match show_existing {
        1 => (false, 1),
        _ => (inter == 0, show),
    }
}

/// Whether an AV1 temporal unit brings what a decoder needs to begin.
fn has_sequence_header(mut data: &[u8]) -> bool {
    while let [header, rest @ ..] = data {
        let (kind, extension, sized) = (header >> 3 & 15, header >> 2 & 1, header >> 1 & 1);
        match kind {
            1 => return true,
            // Anything but a delimiter, metadata or padding comes after the sequence header.
            2 | 5 | 15 if sized == 1 => {
                let mut rest = rest.get(usize::from(extension)..).unwrap_or_default();
                let mut size = 0usize;
                for shift in 0..8 {
                    let [byte, others @ ..] = rest else { return false };
                    rest = others;
                    size |= usize::from(byte & 127) << (7 * shift);
                    if byte & 128 == 0 {
                        break;
                    }
                }
                data = rest.get(size..).unwrap_or_default();
            }
            _ => return false,
        }
    }
    false
}

/// A packet of MPEG-1 or MPEG-2: what headers stand before the slices.
fn mpeg(data: &[u8], key: bool) -> Peek {
    let mut peek = Peek::default();
    let (mut begins, mut matrices, mut rest) = (false, false, data);
    while let Some(at) = start_code(rest) {
        rest = &rest[at + 3..];
        match *rest {
            // A sequence; a group of pictures alone does not bring the matrices in force.
            [0xb3, ..] => begins = true,
            // A quantiser matrix of its own.
            [0xb5, kind, ..] if kind >> 4 == 3 => matrices = true,
            [0, _, second, ..] => (peek.shown, peek.droppable) = (1, second >> 3 & 7 == 3),
            [1..=0xaf, ..] => break,
            _ => {}
        }
    }
    peek.entry = key && begins;
    peek.droppable &= !begins && !matrices;
    peek
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(codec: Id, extradata: &[u8], data: &[u8]) -> Peek {
        Peeker::new(codec, extradata).unwrap().look(data, true)
    }

    #[test]
    fn h264_tells_idr_recovery_and_unreferenced() {
        let avcc = [1, 0, 0, 0, 0xff];
        let entry = |data: &[u8]| look(Id::H264, &avcc, data);
        assert!(entry(&[0, 0, 0, 2, 0x65, 0]).entry);
        assert!(!entry(&[0, 0, 0, 2, 0x41, 0]).entry);
        assert!(!entry(&[0, 0, 0, 2, 0x41, 0]).droppable);
        assert!(entry(&[0, 0, 0, 2, 0x01, 0]).droppable);
        assert!(entry(&[0, 0, 0, 4, 6, 6, 1, 0xc4, 0, 0, 0, 2, 0x61, 0]).entry);
        // recovery_frame_cnt is not 0; not an exact match; lengths that lie
        assert!(!entry(&[0, 0, 0, 4, 6, 6, 1, 0x44, 0, 0, 0, 2, 0x61, 0]).entry);
        assert!(!entry(&[0, 0, 0, 4, 6, 6, 1, 0x84, 0, 0, 0, 2, 0x61, 0]).entry);
        assert!(entry(&[255, 255, 255, 255, 0x65]).entry);
        assert!(!entry(&[]).entry);
        assert!(look(Id::H264, &[], &[0, 0, 0, 1, 9, 16, 0, 0, 1, 0x65, 1, 2]).entry);
        assert!(look(Id::H264, &[], &[0, 0, 1, 1, 7, 0, 0, 1, 1, 8]).droppable);
        assert!(!look(Id::H264, &[], &[0, 0, 1, 0x68, 7, 0, 0, 1, 1, 8]).droppable);
    }

    #[test]
    fn hevc_tells_entries_and_layers() {
        let nal = |kind: u8, layer: u8| look(Id::HEVC, &[], &[0, 0, 1, kind << 1, layer + 1, 0]);
        assert!(nal(19, 0).entry && nal(21, 0).entry && !nal(1, 0).entry);
        assert!(nal(0, 0).droppable && !nal(1, 0).droppable && nal(8, 2).droppable);
        assert_eq!(nal(2, 2).layer, 2);
    }

    #[test]
    fn vp8_and_vp9_tell_hidden_frames() {
        assert_eq!(look(Id::VP8, &[], &[0x10]), Peek { entry: true, shown: 1, ..Peek::default() });
        assert_eq!(look(Id::VP8, &[], &[0x01]), Peek { shown: 0, ..Peek::default() });
        let (key, hidden, shown, existing) = (0b1000_0010, 0b1000_0100, 0b1000_0110, 0b1000_1000);
        assert_eq!(look(Id::VP9, &[], &[key]), Peek { entry: true, shown: 1, ..Peek::default() });
        assert_eq!(look(Id::VP9, &[], &[hidden]).shown, 0);
        assert_eq!(look(Id::VP9, &[], &[existing]).shown, 1);
        let two = [hidden, 0, shown, 0xc1, 2, 1, 0xc1];
        assert_eq!(look(Id::VP9, &[], &two), Peek { shown: 1, ..Peek::default() });
        assert_eq!(look(Id::VP9, &[], &[shown, shown, 0xc1, 1, 1, 0xc1]).shown, 2);
    }

    #[test]
    fn av1_and_mpeg2_begin_with_their_headers() {
        assert!(look(Id::AV1, &[], &[0x12, 0, 0x0a, 1, 0]).entry);
        assert!(!look(Id::AV1, &[], &[0x12, 0, 0x32, 1, 0]).entry);
        assert!(!look(Id::AV1, &[], &[0x12, 0xff, 0xff]).entry);
        let picture = |kind: u8| [0, 0, 1, 0, 0, kind << 3, 0, 0, 1, 1];
        assert!(!look(Id::MPEG2VIDEO, &[], &picture(1)).entry);
        assert!(look(Id::MPEG2VIDEO, &[], &picture(3)).droppable);
        assert!(look(Id::MPEG2VIDEO, &[], &[&[0, 0, 1, 0xb3, 9][..], &picture(1)].concat()).entry);
    }
}
