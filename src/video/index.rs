//! The frames of a stream before any of them is decoded: which packet shows when, and where decoding can begin.

use std::collections::HashMap;

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::packet::{Flags, Ref};
use ffmpeg::{ffi, Packet};

use super::peek::{Kept, Peek, Peeker};
use super::sample::{Shown, Timeline};

/// A packet of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// In the stream's time base.
    pub pts: i64,
    /// Where it lies in the file, as far as the container tells.
    pub pos: i64,
    pub size: u32,
    pub peek: Kept,
    pub key: bool,
    /// It comes before the edit list's first frame, and its own is not shown.
    pub discard: bool,
}

/// All packets of a stream in the order of decoding, and its frames in the order in which they are shown.
pub(super) struct Index {
    pub entries: Vec<Entry>,
    /// The packet of each shown frame.
    pub order: Vec<u32>,
    pub timeline: Timeline,
    /// For each packet the one where decoding has to begin for its frame.
    starts: Vec<u32>,
}

/// Collects the packets of a stream.
pub(super) struct Builder {
    peeker: Option<Peeker>,
    entries: Vec<Entry>,
    time_base: ffmpeg::Rational,
    last_duration: i64,
    last_dts: Option<i64>,
    /// Of the first entry: what is shown before it may not come out.
    first_pts: Option<i64>,
    /// The parameter sets in force, and whether others have come since the beginning.
    parameters: Option<u64>,
    parameters_change: bool,
    /// The last packet ended a sequence.
    ended: bool,
    doubt: Option<&'static str>,
}

impl Builder {
    pub(super) fn new(peeker: Option<Peeker>, time_base: ffmpeg::Rational) -> Self {
        let doubt = peeker.is_none().then_some("its codec's packets do not tell");
        Builder {
            peeker,
            entries: Vec::new(),
            time_base,
            last_duration: 0,
            last_dts: None,
            first_pts: None,
            parameters: None,
            parameters_change: false,
            ended: false,
            doubt,
        }
    }

    /// Packets so far.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds the next packet; `field` if it begins with a field.
    pub(super) fn push(&mut self, packet: &Packet, field: bool) {
        let flags = packet.flags();
        // SAFETY: a packet that was read; `flags()` leaves out this one.
        let discard = unsafe { (*packet.as_ptr()).flags } & ffi::AV_PKT_FLAG_DISCARD != 0;
        let data = packet.data().unwrap_or_default();
        let plain = Peek { shown: 1, ..Peek::default() };
        let peek = self.peeker.as_ref().map_or(plain, |peeker| peeker.look(data, flags.contains(Flags::KEY)));
        if flags.contains(Flags::CORRUPT) {
            self.doubt = Some("it has damaged packets");
        }
        if packet.pts().is_none() && peek.shown > 0 && !discard {
            self.doubt = Some("it has frames without a time");
        }
        if peek.shown > 1 {
            self.doubt = Some("it has packets of several frames");
        }
        if changes_decoder(packet) {
            self.doubt = Some("its parameters change");
        }
        if field && peek.pictures == 1 {
            self.doubt = Some("its fields are in packets of their own");
        }
        // What was to be shown then may be dropped.
        if self.ended || peek.drops {
            self.doubt = Some("it may drop frames");
        }
        self.ended = peek.ends;
        // A decoder that begins at an entry behind new parameter sets has to find them there.
        match peek.parameters {
            Some(new) => {
                self.parameters_change |= !self.entries.is_empty() && self.parameters != Some(new);
                self.parameters = Some(new);
            }
            None if self.parameters_change && peek.entry => self.doubt = Some("its parameters change"),
            None => {}
        }
        if !discard {
            // Packets outside of an edit list run ahead.
            self.last_dts = packet.dts();
            if peek.entry {
                self.first_pts = self.first_pts.or(packet.pts());
            }
        }
        self.last_duration = packet.duration();
        self.entries.push(Entry {
            pts: packet.pts().unwrap_or(i64::MIN),
            pos: packet.position() as i64,
            size: data.len() as u32,
            peek: peek.kept(),
            key: flags.contains(Flags::KEY),
            discard,
        });
    }

    /// Whether all packets to come are shown at `end_us` or later: none is shown before it is decoded.
    pub(super) fn is_beyond(&self, end_us: i64) -> bool {
        match (self.last_dts, self.first_pts) {
            (Some(dts), Some(first)) => microseconds(dts.saturating_sub(first), self.time_base) >= end_us,
            _ => false,
        }
    }

    /// # Errors
    /// Why only decoding can tell which frames the stream shows, and the timeline that it seems to have.
    pub(super) fn finish(mut self) -> Result<Index, (&'static str, Timeline)> {
        let highest = self.entries.iter().map(|e| e.peek.layer).max().unwrap_or(0);
        for entry in &mut self.entries {
            entry.peek.droppable &= entry.peek.layer == highest;
        }
        let (order, ascending) = display_order(&self.entries);
        let timeline = self.timeline(&order);
        let doubt = self.doubt.or((!ascending).then_some("its times run backwards"));
        let starts = starts(&self.entries);
        match doubt {
            Some(doubt) => Err((doubt, timeline)),
            None => Ok(Index { entries: self.entries, order, timeline, starts }),
        }
    }

    fn timeline(&self, order: &[u32]) -> Timeline {
        let entry = |&i: &u32| &self.entries[i as usize];
        let timed = order.iter().map(entry).all(|e| e.pts != i64::MIN);
        let first = order.first().map_or(0, |i| entry(i).pts);
        let shown = |(i, packet): (usize, &u32)| {
            let entry = entry(packet);
            let time_us = match timed {
                true => microseconds(entry.pts.saturating_sub(first), self.time_base),
                // Nobody knows; decoding will tell.
                false => 40_000 * i as i64,
            };
            Shown { time_us, key: entry.key }
        };
        let frames: Vec<Shown> = order.iter().enumerate().map(shown).collect();
        let last_us = microseconds(self.last_duration, self.time_base);
        let end_us = frames.last().map_or(0, |last| last.time_us.saturating_add(last_us));
        Timeline { frames, end_us }
    }
}

/// `pts` of a time base as microseconds, to the nearest.
pub(super) fn microseconds(pts: i64, time_base: ffmpeg::Rational) -> i64 {
    let (n, d) = (i128::from(time_base.numerator()) * 1_000_000, i128::from(time_base.denominator()).max(1));
    let twice = i128::from(pts) * n * 2;
    let rounded = (twice + d).div_euclid(2 * d);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

/// Whether the packet brings new parameters, which a decoder that begins behind it would miss.
fn changes_decoder(packet: &Packet) -> bool {
    use ffmpeg::codec::packet::side_data::Type;
    packet.side_data().any(|data| matches!(data.kind(), Type::NewExtraData | Type::ParamChange))
}

/// The packets in the order in which their frames are shown, and whether time runs forward in it.
///
/// Decoders never carry a frame across an entry, but for those shown before the entry's own; so the order is by time
/// between two entries, and whatever the times are from one entry to the next.
fn display_order(entries: &[Entry]) -> (Vec<u32>, bool) {
    let mut order: Vec<u32> = Vec::with_capacity(entries.len());
    let mut from = 0;
    for (i, entry) in entries.iter().enumerate() {
        if entry.peek.entry {
            order[from..].sort_by_key(|&j| entries[j as usize].pts);
            from = order.len();
        }
        if entry.peek.shown > 0 && !entry.discard {
            order.push(i as u32);
        }
    }
    order[from..].sort_by_key(|&j| entries[j as usize].pts);
    let ascending = order.windows(2).all(|pair| entries[pair[0] as usize].pts < entries[pair[1] as usize].pts);
    (order, ascending)
}

/// Where decoding begins for each packet: at the last entry before it that is shown no later.
fn starts(entries: &[Entry]) -> Vec<u32> {
    let (mut before, mut last) = (0, 0);
    let start = |(i, entry): (usize, &Entry)| {
        if entry.peek.entry {
            (before, last) = (last, i as u32);
        }
        // Shown before the entry, it may need what came before that.
        match entry.pts < entries[last as usize].pts {
            true => before,
            false => last,
        }
    };
    entries.iter().enumerate().map(start).collect()
}

impl Index {
    /// The packet where decoding has to begin for the frame of `packet`.
    pub(super) fn start(&self, packet: u32) -> u32 {
        self.starts[packet as usize]
    }

    /// Whether the frame of `packet` can come out of a decoder that began at `start`.
    pub(super) fn comes_out(&self, packet: u32, start: u32) -> bool {
        let entry = &self.entries[packet as usize];
        let leads = entry.pts < self.entries[start as usize].pts;
        entry.peek.shown > 0 && !entry.discard && !(start > 0 && leads)
    }

    /// The packets whose frames a decoder may refuse to show, since it has seen nothing that they build on: those before
    /// the first entry and those that it shows before that entry's own. None if the stream has no entry.
    pub(super) fn head(&self) -> Option<std::ops::Range<u32>> {
        let first = self.entries.iter().position(|e| e.peek.entry)?;
        let next = self.entries[first + 1..].iter().position(|e| e.peek.entry);
        let last = next.map_or(self.entries.len(), |n| first + 1 + n);
        let leads = |e: &Entry| e.pts < self.entries[first].pts;
        match self.entries[first..last].iter().rposition(leads) {
            Some(n) => Some(0..(first + n + 1) as u32),
            None => Some(0..first as u32),
        }
    }

    /// Takes packets out of the order of shown frames.
    pub(super) fn hide(&mut self, hidden: &[u32]) {
        hidden.iter().for_each(|&packet| self.entries[packet as usize].peek.shown = 0);
        let keep: Vec<bool> = self.order.iter().map(|&p| self.entries[p as usize].peek.shown > 0).collect();
        let mut kept = keep.iter();
        self.order.retain(|_| kept.next().copied().unwrap_or(true));
        let mut kept = keep.iter();
        self.timeline.frames.retain(|_| kept.next().copied().unwrap_or(true));
        self.timeline.begin_at_zero();
    }

    /// Finds packets again after a seek: by place, time and size, where these are one packet's only.
    pub(super) fn places(&self) -> HashMap<(i64, i64, u32), Option<u32>> {
        let mut places = HashMap::with_capacity(self.entries.len());
        for (i, entry) in self.entries.iter().enumerate() {
            places.entry(entry.place()).and_modify(|at| *at = None).or_insert(Some(i as u32));
        }
        places
    }
}

impl Entry {
    pub(super) fn place(&self) -> (i64, i64, u32) {
        (self.pos, self.pts, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(packets: &[(i64, bool)]) -> Result<Index, &'static str> {
        let entries = packets.iter().map(|&(pts, entry)| Entry {
            pts,
            pos: 0,
            size: 0,
            peek: Kept { entry, shown: 1, ..Kept::default() },
            key: entry,
            discard: false,
        });
        let time_base = ffmpeg::Rational::new(1, 10);
        let builder = Builder {
            peeker: None,
            entries: entries.collect(),
            time_base,
            last_duration: 1,
            last_dts: None,
            first_pts: None,
            parameters: None,
            parameters_change: false,
            ended: false,
            doubt: None,
        };
        builder.finish().map_err(|(doubt, _)| doubt)
    }

    /// I P B B, then an open group: I with two B before it, P.
    #[test]
    fn an_open_group() {
        let index =
            index(&[(0, true), (3, false), (1, false), (2, false), (6, true), (4, false), (5, false), (7, false)]);
        let index = index.unwrap();
        assert_eq!(index.order, [0, 2, 3, 1, 5, 6, 4, 7]);
        assert_eq!([4, 5, 6, 7].map(|p| index.start(p)), [4, 0, 0, 4]);
        assert!(!index.comes_out(5, 4) && index.comes_out(5, 0) && index.comes_out(7, 4));
        assert_eq!(index.head(), Some(0..0));
        let times: Vec<i64> = index.timeline.frames.iter().map(|f| f.time_us).collect();
        assert_eq!(times[..3], [0, 100_000, 200_000]);
        assert_eq!(index.timeline.end_us, 800_000);
    }

    #[test]
    fn a_stream_that_begins_in_the_middle() {
        let mut index = index(&[(2, false), (5, true), (3, false), (4, false), (6, false)]).unwrap();
        assert_eq!(index.head(), Some(0..4));
        index.hide(&[0, 2]);
        assert_eq!(index.order, [3, 1, 4]);
        assert_eq!(index.timeline.frames[1].time_us, 100_000);
        assert!(super::Index::head(&self::index(&[(1, false)]).unwrap()).is_none());
    }

    #[test]
    fn times_that_cannot_be() {
        assert!(index(&[(0, true), (1, false), (1, false)]).is_err());
        assert!(index(&[(5, true), (6, false), (0, true), (1, false)]).is_err());
    }

    #[test]
    fn microseconds_are_rounded() {
        let third = ffmpeg::Rational::new(1, 3);
        assert_eq!([1, 2, -1].map(|pts| microseconds(pts, third)), [333_333, 666_667, -333_333]);
        assert_eq!(microseconds(i64::MIN + 1, ffmpeg::Rational::new(i32::MAX, 1)), i64::MIN);
    }
}
