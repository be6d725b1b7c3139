//! Decodes what the wanted frames need and nothing else, by the index.
//!
//! A *group* begins at a packet where decoding can begin and ends with the last packet that its wanted frames need. What
//! no frame needs is left out: whole groups of pictures without a wanted frame, the rest of a group behind its last wanted
//! frame, and frames in between that no other refers to. Everything that does come out is compared with the index; where
//! they do not agree, the index is not to be trusted, and all of the stream has to be decoded.

use std::collections::{BTreeMap, VecDeque};

use crossbeam_channel::unbounded;
use ffmpeg_next::Packet;

use super::convert::Converter;
use super::decoder::{Decoded, Decoder};
use super::demux::{Demuxer, PACKET};
use super::index::Index;
use super::{log, Work};
use crate::error::{Error, Result, Status};
use crate::image::Preprocessor;
use crate::runtime::{guarded, Cancel, Turn};
use crate::thread;

/// Groups up to this many bytes of packets, and of wanted frames, are kept in memory while they wait for a decoder.
const MOST_BYTES: u64 = 32 << 20;
const MOST_WANTED: usize = 300;

/// Packets in memory for all decoders together, in bytes.
const MOST_IN_FLIGHT: usize = 96 << 20;

/// What a thread of a decoder of several is worth against a decoder of one thread: 0.64 measured with H.265.
const SHARED: f64 = 0.65;

/// Packets that are decoded from one place on, and the frames wanted among them.
#[derive(Debug, PartialEq)]
struct Group {
    first: u32,
    last: u32,
    /// Packets and the positions of their frames among the wanted, ascending by position.
    wanted: Vec<(u32, usize)>,
}

/// How it went.
pub(super) enum Outcome {
    Done,
    /// The index is wrong about the stream.
    Distrusted(&'static str),
}

/// A position among the wanted frames and what was made of the frame.
type Picture = (usize, Vec<u8>);

/// Hands the frames with these numbers, which ascend, to `take`, in their order.
pub(super) fn run(
    demuxer: &mut Demuxer,
    index: &Index,
    numbers: &[u64],
    work: &Work,
    take: &mut dyn FnMut(Picture) -> Result<()>,
) -> Result<Outcome> {
    let groups = plan(index, numbers);
    let threads = work.threads();
    let beside = match Decoder::has_device(demuxer.opened()?, work)? {
        // One decoder of a device is faster than many of it, and there are others who want it.
        true => 0,
        false => side_by_side(index, &groups, threads),
    };
    let (beside, behind) = groups.split_at(beside);
    let outcome = parallel(demuxer, index, beside, threads, work, take)
        .and_then(|()| sequential(demuxer, index, behind, threads, work, take));
    match outcome {
        Ok(()) => Ok(Outcome::Done),
        Err(Stop::Distrust(why)) => Ok(Outcome::Distrusted(why)),
        // Where only damage is an error: what was left out may look like damage, so that all of it has to decide.
        Err(Stop::Error(error)) if error.status() == Status::Decode => Ok(Outcome::Distrusted("it has damaged frames")),
        Err(Stop::Error(error)) => Err(error),
    }
}

enum Stop {
    Error(Error),
    Distrust(&'static str),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

/// What the demuxer says of a file that changed, or whose packets are not found again.
fn lost(error: Error) -> Stop {
    match error.status() {
        Status::Decode => Stop::Distrust("its packets are not found again"),
        _ => Stop::Error(error),
    }
}

fn plan(index: &Index, numbers: &[u64]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (position, &number) in numbers.iter().enumerate() {
        let packet = index.order[number as usize];
        let first = index.start(packet);
        match groups.last_mut() {
            Some(group) if group.first <= first && first <= group.last => {
                group.last = group.last.max(packet);
                group.wanted.push((packet, position));
            }
            _ => groups.push(Group { first, last: packet, wanted: vec![(packet, position)] }),
        }
    }
    groups
}

/// How many groups, from the first on, are best decoded side by side, each by a decoder of one thread; the others come
/// behind them, one after the other, with all threads.
fn side_by_side(index: &Index, groups: &[Group], threads: usize) -> usize {
    let entries = |g: &Group| index.entries[g.first as usize..=g.last as usize].iter();
    let fits = |g: &&Group| {
        let bytes: u64 = entries(g).map(|e| u64::from(e.size) + PACKET as u64).sum();
        bytes <= MOST_BYTES && g.wanted.len() <= MOST_WANTED
    };
    if threads < 2 {
        return 0;
    }
    let cost = |g: &Group| entries(g).filter(|e| !e.peek.droppable).count().max(1) as f64;
    let together = |cost: f64| cost / (threads as f64 * SHARED);
    let mut behind: f64 = groups.iter().map(cost).sum();
    let (mut best, mut least) = (0, together(behind));
    let mut loads = vec![0.0; threads];
    for (n, group) in groups.iter().take_while(fits).enumerate() {
        // Whoever is done first takes the next.
        if let Some(load) = loads.iter_mut().min_by(|a, b| f64::total_cmp(a, b)) {
            *load += cost(group);
        }
        behind -= cost(group);
        let time = loads.iter().copied().fold(0.0, f64::max) + together(behind);
        if time <= least {
            (best, least) = (n + 1, time);
        }
    }
    best
}

fn sequential(
    demuxer: &mut Demuxer,
    index: &Index,
    groups: &[Group],
    threads: usize,
    work: &Work,
    take: &mut dyn FnMut(Picture) -> Result<()>,
) -> std::result::Result<(), Stop> {
    if groups.is_empty() {
        return Ok(());
    }
    let mut maker = Maker::new(demuxer, threads, work)?;
    let mut turn = work.turn(maker.decoder.threads(), work.call)?;
    for group in groups {
        demuxer.go_to(group.first, index).map_err(lost)?;
        let packets = (group.first..=group.last).map(|n| demuxer.expect(n, index).map_err(lost));
        maker.group(index, group, packets, &mut turn, take)?;
    }
    Ok(())
}

/// One thread reads packets, the others decode a group each.
fn parallel(
    demuxer: &mut Demuxer,
    index: &Index,
    groups: &[Group],
    threads: usize,
    work: &Work,
    take: &mut dyn FnMut(Picture) -> Result<()>,
) -> std::result::Result<(), Stop> {
    if groups.is_empty() {
        return Ok(());
    }
    let makers = (0..threads.min(groups.len())).map(|_| Maker::new(demuxer, 1, work)).collect::<Result<Vec<_>>>()?;
    let (jobs, queue) = unbounded::<(usize, Vec<Packet>)>();
    let (done, results) = unbounded();
    // Ends the threads, also where they wait, when this does; who cancels the call itself is watched below.
    let stop = Cancel::new();
    let within = work.call.also(&stop);
    let body = |mut maker: Maker| {
        let _quiet = log::Quiet::enter();
        for (number, packets) in queue.iter() {
            if stop.is_fired() {
                return;
            }
            let mut pictures = Vec::new();
            let made = guarded(|| {
                let packets = packets.into_iter().map(|packet| match stop.is_fired() {
                    // Whoever waited for the result has gone.
                    true => Err(Stop::Distrust("")),
                    false => Ok(packet),
                });
                let mut keep = |picture| {
                    pictures.push(picture);
                    Ok(())
                };
                Ok(maker.group(index, &groups[number], packets, &mut work.turn(1, &within)?, &mut keep))
            });
            let made = made.unwrap_or_else(|panic| Err(panic.into()));
            if done.send((number, made.map(|()| pictures))).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for (i, maker) in makers.into_iter().enumerate() {
            let name = format!("c4c-decode-{i}");
            let body = &body;
            let started = thread::spawn_scoped(scope, &name, move || body(maker));
            if let Err(e) = started {
                drop(jobs);
                let no = format_args!("cannot start a thread to decode: {e}");
                return Err(Error::new(Status::OutOfMemory, no).into());
            }
        }
        let mut read = || -> std::result::Result<(), Stop> {
            let mut ready = BTreeMap::new();
            let (mut sent, mut taken) = (0, 0);
            let mut in_flight = VecDeque::new();
            while taken < groups.len() {
                // Enough that nobody waits, and no more.
                let bytes: usize = in_flight.iter().sum();
                if sent < groups.len() && sent < taken + 2 * threads && (bytes < MOST_IN_FLIGHT || sent == taken) {
                    let group = &groups[sent];
                    demuxer.go_to(group.first, index).map_err(lost)?;
                    let packets = (group.first..=group.last).map(|n| demuxer.expect(n, index).map_err(lost));
                    let packets = packets.collect::<std::result::Result<Vec<_>, _>>()?;
                    in_flight.push_back(packets.iter().map(|p| p.size() + PACKET).sum());
                    jobs.send((sent, packets)).map_err(|_| Error::internal("the decoding threads have ended"))?;
                    sent += 1;
                    continue;
                }
                let Some((number, made)) = work.call.wait(&results)? else {
                    return Err(Error::internal("the decoding threads have ended").into());
                };
                ready.insert(number, made?);
                while let Some(pictures) = ready.remove(&taken) {
                    pictures.into_iter().try_for_each(&mut *take)?;
                    in_flight.pop_front();
                    taken += 1;
                }
            }
            Ok(())
        };
        let outcome = read();
        stop.fire();
        drop(jobs);
        outcome
    })
}

/// Decodes groups and makes pictures of their wanted frames.
struct Maker<'w> {
    decoder: Decoder,
    converter: Converter,
    preprocessor: Preprocessor,
    work: &'w Work<'w>,
}

impl<'w> Maker<'w> {
    fn new(demuxer: &Demuxer, threads: usize, work: &'w Work<'w>) -> Result<Self> {
        let opened = demuxer.opened()?;
        Ok(Maker {
            decoder: Decoder::open_anywhere(opened, work, threads)?,
            converter: Converter::new(opened, work.options)?,
            preprocessor: Preprocessor::new(work.side),
            work,
        })
    }

    fn group(
        &mut self,
        index: &Index,
        group: &Group,
        packets: impl Iterator<Item = std::result::Result<Packet, Stop>>,
        turn: &mut Option<Turn>,
        take: &mut dyn FnMut(Picture) -> Result<()>,
    ) -> std::result::Result<(), Stop> {
        let Maker { decoder, converter, preprocessor, work } = self;
        let wanted: BTreeMap<u32, usize> = group.wanted.iter().copied().collect();
        let mut came = vec![false; (group.last - group.first + 1) as usize];
        let unrecovered = decoder.unrecovered;
        let mut wrong = None;
        let mut last_pts = i64::MIN;
        let mut frame = |decoded: Decoded| -> Result<bool> {
            let number = decoded.number.and_then(|n| u32::try_from(n).ok());
            let Some(number) = number.filter(|n| (group.first..=group.last).contains(n)) else {
                wrong = Some("it has frames of no packet");
                return Ok(false);
            };
            if !index.comes_out(number, group.first) {
                // Frames before the group's own may come out or not, and so may unrecovered ones.
                if index.entries[number as usize].peek.shown == 0 && !unrecovered {
                    wrong = Some("it shows more frames than its packets tell");
                }
                return Ok(false);
            }
            let pts = index.entries[number as usize].pts;
            let again = std::mem::replace(&mut came[(number - group.first) as usize], true);
            if again || pts <= last_pts {
                wrong = Some("its frames come in another order than its packets tell");
            }
            last_pts = pts;
            if decoded.flawed {
                wrong = Some("it has damaged frames");
            } else if let Some(&position) = wanted.get(&number) {
                take((position, work.picture(converter, preprocessor, decoded.frame, decoded.software)?))?;
            }
            Ok(true)
        };
        let mut sent = vec![false; (group.last - group.first + 1) as usize];
        for (number, packet) in (group.first..).zip(packets) {
            work.call.check()?;
            work.breathe(turn, decoder)?;
            let entry = &index.entries[number as usize];
            // What is shown before the group's own frames builds on what comes before the group, and only itself needs it.
            let leads = group.first > 0 && entry.pts < index.entries[group.first as usize].pts;
            let mut packet = packet?;
            if leads && entry.peek.shown > 0 {
                continue;
            }
            // Nor is there any use for a frame that nobody wants and no other frame refers to.
            if entry.peek.droppable && !wanted.contains_key(&number) {
                continue;
            }
            sent[(number - group.first) as usize] = true;
            decoder.decode(&mut packet, Some(i64::from(number)), &mut frame)?;
        }
        decoder.finish(&mut frame)?;
        let missing = (group.first..=group.last)
            .zip(sent.iter().zip(&came))
            .any(|(number, (&sent, &came))| sent && !came && index.comes_out(number, group.first));
        match (wrong, missing, decoder.corrupt) {
            (Some(why), ..) => Err(Stop::Distrust(why)),
            (_, true, _) => Err(Stop::Distrust("it shows fewer frames than its packets tell")),
            (.., 1..) => Err(Stop::Distrust("it has damaged packets")),
            _ => Ok(()),
        }
    }
}

/// Finds out which frames at the beginning of the stream, which may build on what is not there, come out nevertheless.
pub(super) fn settle_head(demuxer: &mut Demuxer, index: &mut Index, work: &Work) -> Result<Outcome> {
    /// More of them than this, and decoding everything costs little more.
    const MOST: u32 = 600;
    let head = match index.head() {
        Some(head) if head.is_empty() => return Ok(Outcome::Done),
        Some(head) if head.end <= MOST => head,
        _ => return Ok(Outcome::Distrusted("decoding can begin nowhere in it")),
    };
    let mut came = vec![false; head.end as usize];
    let mut decoder = Decoder::open(demuxer.opened()?, work, 1)?;
    let _turn = work.turn(1, work.call)?;
    let mut take = |decoded: Decoded| -> Result<bool> {
        let number = decoded.number.and_then(|n| usize::try_from(n).ok());
        if let Some(came) = number.and_then(|n| came.get_mut(n)) {
            *came = true;
        }
        Ok(false)
    };
    let read = |n: u32, demuxer: &mut Demuxer, index: &Index| match n {
        0 => demuxer.go_to(0, index).and_then(|()| demuxer.expect(0, index)),
        n => demuxer.expect(n, index),
    };
    for n in head.clone() {
        work.call.check()?;
        let mut packet = match read(n, demuxer, index) {
            Ok(packet) => packet,
            Err(e) => match lost(e) {
                Stop::Error(error) => return Err(error),
                Stop::Distrust(why) => return Ok(Outcome::Distrusted(why)),
            },
        };
        decoder.decode(&mut packet, Some(i64::from(n)), &mut take)?;
    }
    decoder.finish(&mut take)?;
    // The entry itself is in no doubt: its frame is among the wanted ones, or decides nothing.
    let hidden: Vec<u32> = head.filter(|&n| !came[n as usize] && !index.entries[n as usize].peek.entry).collect();
    index.hide(&hidden);
    Ok(Outcome::Done)
}
