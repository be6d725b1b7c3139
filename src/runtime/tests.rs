//! The engine with something in the model's place that computes at once, or when it is told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{unbounded, Receiver, Sender};
use ndarray::Array2;

use super::lane::{Item, Lane};
use super::permits::Permits;
use super::queue::Compute;
use super::{Call, Cancel, Engine, Finish, Limits, Load};
use crate::clip::{Ids, Image, Square};
use crate::error::{Error, Result, Status};

/// What the stand-in was given, and how it behaves.
#[derive(Clone, Default)]
struct Script {
    /// Lengths of the texts, or zeros for images, of each pass.
    passes: Arc<Mutex<Vec<Vec<usize>>>>,
    /// A pass says on the one that it has begun and waits for the other.
    steps: Option<(Sender<()>, Receiver<()>)>,
    /// More items than this at once are too many for memory; 0: never.
    capacity: Arc<AtomicUsize>,
}

impl Script {
    fn stepwise() -> (Self, Receiver<()>, Sender<()>) {
        let ((begun, begins), (go, goes)) = (unbounded(), unbounded());
        (Script { steps: Some((begun, goes)), ..Script::default() }, begins, go)
    }

    fn pass(&self, lengths: Vec<usize>) -> Result<()> {
        if let Some((begun, goes)) = &self.steps {
            let _ = begun.send(());
            let _ = goes.recv();
        }
        let n = lengths.len();
        self.passes.lock().unwrap().push(lengths);
        match self.capacity.load(Ordering::Relaxed) {
            most if most > 0 && n > most => Err(Error::new(Status::OutOfMemory, "no memory for so many")),
            _ => Ok(()),
        }
    }

    fn passes(&self) -> Vec<Vec<usize>> {
        self.passes.lock().unwrap().clone()
    }
}

const POISON: u8 = 13;
const BOMB: u8 = 14;

impl Compute for Script {
    /// First id and length.
    fn texts(&self, texts: &[&Ids]) -> Result<Array2<f32>> {
        self.pass(texts.iter().map(|t| t.len()).collect())?;
        Ok(Array2::from_shape_fn((texts.len(), 2), |(i, k)| [texts[i][0], texts[i].len() as u32][k] as f32))
    }

    /// The first bytes of the image.
    fn images(&self, images: &[&Image]) -> Result<Array2<f32>> {
        self.pass(vec![0; images.len()])?;
        assert!(images.iter().all(|image| image.own[0] != BOMB), "a bomb");
        match images.iter().find(|image| image.own[0] == POISON) {
            Some(_) => Err(Error::new(Status::Backend, "a poisoned image")),
            None => Ok(Array2::from_shape_fn((images.len(), 2), |(i, k)| images[i].own[k].into())),
        }
    }
}

const BATCH: usize = 8;
const MOST_IDS: usize = 20;
const IMAGE: usize = 1 << 20;

fn engine(script: &Script, delay: Duration) -> Engine<Script> {
    let limits = Limits { num_threads: 1, max_batch: BATCH, max_ids: MOST_IDS, max_batch_delay: delay };
    let script = script.clone();
    Engine::start(limits, vec![Box::new(move || Ok(script))], |_| ((), IMAGE)).unwrap().0
}

fn image(a: u8, b: u8) -> Image {
    let mut bytes = vec![0; IMAGE];
    bytes[..2].copy_from_slice(&[a, b]);
    Image { own: Square::new(bytes), before: None, after: None }
}

fn rows() -> Finish<Script> {
    Box::new(|_, rows| Ok(rows))
}

fn images(engine: &Engine<Script>, call: &Call, images: Vec<Image>) -> Result<Array2<f32>> {
    let mut request = engine.request::<Image>(call)?;
    request.push(images)?;
    request.finish(rows());
    request.wait()
}

fn texts(engine: &Engine<Script>, call: &Call, texts: Vec<Ids>) -> Result<Array2<f32>> {
    let mut request = engine.request::<Ids>(call)?;
    request.push(texts)?;
    request.finish(rows());
    request.wait()
}

fn status<T>(result: Result<T>) -> Option<Status> {
    result.err().map(|e| e.status())
}

fn is_empty(engine: &Engine<Script>) -> bool {
    let stats = engine.stats();
    (stats.queued_texts, stats.queued_images, stats.waiting_calls, stats.bytes_held) == (0, 0, 0, 0)
}

fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::yield_now();
    }
}

#[test]
fn strangers_share_a_pass_and_get_their_own_rows() {
    let (script, begun, go) = Script::stepwise();
    let engine = engine(&script, Duration::ZERO);
    std::thread::scope(|scope| {
        let ask = |a: u8| {
            let engine = &engine;
            scope.spawn(move || {
                let n = usize::from(a);
                let got = images(engine, &Call::default(), (0..a).map(|b| image(a, b)).collect()).unwrap();
                assert_eq!(got, Array2::from_shape_fn((n, 2), |(i, k)| [n, i][k] as f32));
            })
        };
        ask(1);
        begun.recv().unwrap();
        // While that one runs, others come.
        [2, 3, 5].into_iter().for_each(|n| drop(ask(n)));
        until(|| engine.stats().queued_images == 10);
        (0..3).for_each(|_| go.send(()).unwrap());
    });
    assert_eq!(script.passes().iter().map(Vec::len).collect::<Vec<_>>(), [1, 8, 2]);
    assert_eq!((engine.stats().images, engine.stats().image_batches), (11, 3));
    until(|| is_empty(&engine));
}

#[test]
fn texts_and_images_take_turns() {
    let (script, begun, go) = Script::stepwise();
    let engine = engine(&script, Duration::ZERO);
    std::thread::scope(|scope| {
        let film = || images(&engine, &Call::default(), (0..24).map(|b| image(1, b)).collect()).unwrap();
        scope.spawn(film);
        begun.recv().unwrap();
        let book = || texts(&engine, &Call::default(), vec![vec![7; 5]; 8]).unwrap();
        scope.spawn(book);
        until(|| engine.stats().queued_texts == 8);
        (0..6).for_each(|_| go.send(()).unwrap());
    });
    // Images for which texts had to wait go in smaller passes, until no text comes.
    let film: Vec<usize> = vec![8, 4, 4, 8];
    let passes: Vec<(bool, usize)> = script.passes().iter().map(|pass| (pass[0] > 0, pass.len())).collect();
    assert_eq!(passes, [(false, film[0]), (true, 4), (false, film[1]), (true, 4), (false, film[2]), (false, film[3])]);
}

#[test]
fn what_is_cancelled_costs_no_pass_and_holds_no_room() {
    let (script, begun, go) = Script::stepwise();
    let engine = engine(&script, Duration::ZERO);
    let cancel = Cancel::new();
    let call = Call::new(None, Some(cancel.clone()));
    std::thread::scope(|scope| {
        scope.spawn(|| images(&engine, &Call::default(), vec![image(1, 0)]).unwrap());
        begun.recv().unwrap();
        let waiting = scope.spawn(|| status(images(&engine, &call, vec![image(2, 0); 20])));
        let late = Call::new(Some(Duration::from_millis(1)), None);
        assert_eq!(status(texts(&engine, &late, vec![vec![1]])), Some(Status::Timeout));
        until(|| engine.stats().queued_images == 20);
        cancel.fire();
        // It returns although the pass has not moved.
        assert_eq!(waiting.join().unwrap(), Some(Status::Cancelled));
        let stats = engine.stats();
        assert_eq!((stats.queued_images, stats.queued_texts, stats.bytes_held), (0, 0, IMAGE as u64));
        go.send(()).unwrap();
    });
    assert_eq!(script.passes(), [[0]]);
    until(|| is_empty(&engine));
}

#[test]
fn a_full_queue_lets_callers_wait_in_order() {
    let (script, begun, go) = Script::stepwise();
    let engine = engine(&script, Duration::ZERO);
    let room = 64;
    std::thread::scope(|scope| {
        scope.spawn(|| images(&engine, &Call::default(), vec![image(1, 0); room]).unwrap());
        begun.recv().unwrap();
        let late = Call::new(Some(Duration::from_millis(1)), None);
        assert_eq!(status(images(&engine, &late, vec![image(2, 0)])), Some(Status::Timeout));
        // More than there will ever be room for, and one behind it.
        scope.spawn(|| images(&engine, &Call::default(), vec![image(3, 0); room + 9]).unwrap());
        until(|| engine.stats().waiting_calls == 1);
        scope.spawn(|| images(&engine, &Call::default(), vec![image(4, 0)]).unwrap());
        until(|| engine.stats().waiting_calls == 2);
        assert_eq!(engine.stats().bytes_held, (room * IMAGE) as u64);
        (0..100).for_each(|_| go.send(()).unwrap());
    });
    assert_eq!(script.passes().iter().map(Vec::len).sum::<usize>(), room + room + 9 + 1);
    until(|| is_empty(&engine));
}

#[test]
fn parts_of_a_request_may_run_before_it_is_whole() {
    let script = Script::default();
    let engine = engine(&script, Duration::ZERO);
    let mut request = engine.request::<Image>(&Call::default()).unwrap();
    request.push((0..3).map(|b| image(1, b)).collect()).unwrap();
    until(|| engine.stats().images == 3);
    request.push(vec![image(1, 3)]).unwrap();
    until(|| engine.stats().images == 4);
    assert!(!request.is_done());
    request.finish(Box::new(|_, rows| Ok(rows * 2.0)));
    assert_eq!(request.wait().unwrap().column(1).to_vec(), [0.0, 2.0, 4.0, 6.0]);
}

#[test]
fn many_jobs_hold_up_no_pass() {
    let script = Script::default();
    let engine = engine(&script, Duration::ZERO);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    engine.run(&Call::default(), |_| Ok(())).unwrap();
                }
            });
        }
        for i in 0..50 {
            assert_eq!(texts(&engine, &Call::default(), vec![vec![i]]).unwrap()[(0, 0)], i as f32);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn who_has_gone_costs_no_more_passes() {
    let (script, begun, go) = Script::stepwise();
    script.capacity.store(1, Ordering::Relaxed);
    let engine = engine(&script, Duration::ZERO);
    let mut request = engine.request::<Image>(&Call::default()).unwrap();
    request.push((0..8).map(|b| image(1, b)).collect()).unwrap();
    begun.recv().unwrap();
    drop(request);
    go.send(()).unwrap();
    until(|| is_empty(&engine));
    assert_eq!(script.passes(), [[0; 8]]);
}

#[test]
fn too_little_memory_means_smaller_passes() {
    let script = Script::default();
    let engine = engine(&script, Duration::ZERO);
    script.capacity.store(3, Ordering::Relaxed);
    let many = |n: u8| (0..n).map(|b| image(1, b)).collect::<Vec<_>>();
    assert_eq!(images(&engine, &Call::default(), many(8)).unwrap().nrows(), 8);
    assert_eq!(script.passes().iter().map(Vec::len).collect::<Vec<_>>(), [8, 4, 2, 2, 4, 2, 2]);
    script.passes.lock().unwrap().clear();
    assert_eq!(images(&engine, &Call::default(), many(4)).unwrap().nrows(), 4);
    assert_eq!(script.passes().iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    // Memory comes back, and the passes grow again.
    script.capacity.store(0, Ordering::Relaxed);
    (0..250).for_each(|_| drop(images(&engine, &Call::default(), many(1)).unwrap()));
    script.passes.lock().unwrap().clear();
    images(&engine, &Call::default(), many(8)).unwrap();
    assert_eq!(script.passes(), [[0; 8]]);
}

#[test]
fn what_is_wrong_with_one_is_not_the_fault_of_its_company() {
    let (script, begun, go) = Script::stepwise();
    let engine = engine(&script, Duration::ZERO);
    std::thread::scope(|scope| {
        scope.spawn(|| images(&engine, &Call::default(), vec![image(1, 0)]).unwrap());
        begun.recv().unwrap();
        let mut asked = 0;
        let asking = [2, POISON, 3, BOMB, 4].map(|a| {
            let engine = &engine;
            let asking = scope.spawn(move || status(images(engine, &Call::default(), vec![image(a, 0)])));
            asked += 1;
            until(|| engine.stats().queued_images == asked);
            asking
        });
        (0..50).for_each(|_| go.send(()).unwrap());
        let ends = asking.map(|asking| asking.join().unwrap());
        assert_eq!(ends, [None, Some(Status::Backend), None, Some(Status::Internal), None]);
    });
    until(|| is_empty(&engine));
    let bad: Finish<Script> = Box::new(|_, _| panic!("in the finish"));
    let mut request = engine.request::<Ids>(&Call::default()).unwrap();
    request.push(vec![vec![1]]).unwrap();
    request.finish(bad);
    assert_eq!(status(request.wait()), Some(Status::Internal));
    assert_eq!(engine.run(&Call::default(), |_| Ok(7)).unwrap(), 7);
}

#[test]
fn a_lone_request_waits_for_company_only_when_told() {
    let (script, begun, go) = Script::stepwise();
    let engine = engine(&script, Duration::from_secs(3600));
    std::thread::scope(|scope| {
        let ask = |n: usize| {
            let engine = &engine;
            scope.spawn(move || images(engine, &Call::default(), vec![image(1, 0); n]).unwrap())
        };
        ask(3);
        until(|| engine.stats().queued_images == 3);
        assert!(begun.try_recv().is_err());
        // A full batch waits for nobody.
        ask(BATCH - 3);
        go.send(()).unwrap();
    });
    assert_eq!(script.passes(), [[0; BATCH]]);
    // Nor does anybody when the model is to end.
    std::thread::scope(|scope| {
        scope.spawn(|| images(&engine, &Call::default(), vec![image(1, 0)]).unwrap());
        until(|| engine.stats().queued_images == 1);
        engine.hurry();
        go.send(()).unwrap();
    });
    let script = Script::default();
    let engine = self::engine(&script, Duration::from_millis(5));
    texts(&engine, &Call::default(), vec![vec![1]]).unwrap();
    assert_eq!(script.passes(), [[1]]);
}

#[test]
fn dropping_the_engine_lets_queued_work_finish() {
    let (script, begun, go) = Script::stepwise();
    let engine = engine(&script, Duration::from_secs(3600));
    let shared = Arc::clone(&script.passes);
    let mut request = engine.request::<Image>(&Call::default()).unwrap();
    request.push(vec![image(1, 0); BATCH + 2]).unwrap();
    request.finish(rows());
    begun.recv().unwrap();
    std::mem::forget(request);
    (0..2).for_each(|_| go.send(()).unwrap());
    drop(engine);
    assert_eq!(shared.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [8, 2]);
}

#[test]
fn models_keep_their_numbers_of_threads() {
    let load = |num_threads| {
        let limits = Limits { num_threads, max_batch: 1, max_ids: MOST_IDS, max_batch_delay: Duration::ZERO };
        Engine::start(limits, vec![Box::new(|| Ok(Script::default()))], |_| ((), 1)).unwrap().0
    };
    let (one, three) = (load(1), load(3));
    for _ in 0..2 {
        for (engine, n) in [(&one, 1), (&three, 3)] {
            assert_eq!(engine.run(&Call::default(), |_| Ok(tch::get_num_threads())).unwrap(), n);
        }
    }
}

#[test]
fn a_failing_load_is_an_error() {
    let limits = Limits { num_threads: 1, max_batch: 1, max_ids: MOST_IDS, max_batch_delay: Duration::ZERO };
    let start = |loads: Vec<Load<Script>>| status(Engine::<Script>::start(limits, loads, |_| ((), 1)));
    let missing = || -> Load<Script> { Box::new(|| Err(Error::new(Status::WeightsIo, "no such file"))) };
    let boom = || -> Load<Script> { Box::new(|| panic!("boom")) };
    let good = || -> Load<Script> { Box::new(|| Ok(Script::default())) };
    assert_eq!(start(vec![missing()]), Some(Status::WeightsIo));
    assert_eq!(start(vec![boom()]), Some(Status::Internal));
    // The first in the list is told, whichever is first in time.
    assert_eq!(start(vec![missing(), boom()]), Some(Status::WeightsIo));
    assert_eq!(start(vec![good(), good(), boom()]), Some(Status::Internal));
}

/// An engine with so many threads, all of one script.
fn team(script: &Script, threads: usize) -> Engine<Script> {
    let limits = Limits { num_threads: 1, max_batch: BATCH, max_ids: MOST_IDS, max_batch_delay: Duration::ZERO };
    let load = || -> Load<Script> {
        let script = script.clone();
        Box::new(move || Ok(script))
    };
    Engine::start(limits, (0..threads).map(|_| load()).collect(), |_| ((), IMAGE)).unwrap().0
}

/// Passes of one request run at the same time on as many threads as there are.
#[test]
fn threads_share_the_work() {
    let (script, begins, go) = Script::stepwise();
    let engine = team(&script, 3);
    let call = Call::default();
    let mut request = engine.request::<Image>(&call).unwrap();
    request.push((0..3 * BATCH).map(|i| image(20 + i as u8, 0)).collect()).unwrap();
    // None ends before all have begun.
    (0..3).for_each(|_| begins.recv_timeout(Duration::from_secs(60)).unwrap());
    (0..3).for_each(|_| go.send(()).unwrap());
    request.finish(Box::new(|_, rows| Ok(rows)));
    let rows = request.wait().unwrap();
    assert_eq!(rows.column(0).to_vec(), (0..3 * BATCH).map(|i| 20.0 + i as f32).collect::<Vec<_>>());
    assert_eq!(script.passes(), vec![vec![0; BATCH]; 3]);
}

/// Every thread does it once, also those that are at work, and one's failure is told.
#[test]
fn work_for_every_thread() {
    let engine = team(&Script::default(), 3);
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&names);
    let note = move |_: &Script| {
        seen.lock().unwrap().push(std::thread::current().name().unwrap().to_string());
        Ok(())
    };
    engine.run_everywhere(&Call::default(), note).unwrap();
    let mut names = names.lock().unwrap().clone();
    names.sort();
    assert_eq!(names, ["c4c-worker-0", "c4c-worker-1", "c4c-worker-2"]);
    let one = |_: &Script| match std::thread::current().name() {
        Some("c4c-worker-1") => Err(Error::new(Status::Backend, "not here")),
        _ => Ok(()),
    };
    assert_eq!(status(engine.run_everywhere(&Call::default(), one)), Some(Status::Backend));
}

/// Thousands of calls of all kinds from many threads, with calls that end early, failures and memory that comes and goes.
fn many_callers(loads: usize) {
    const THREADS: u64 = 16;
    let rounds = std::env::var("C4C_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let script = Script::default();
    let limits =
        Limits { num_threads: 1, max_batch: BATCH, max_ids: MOST_IDS, max_batch_delay: Duration::from_micros(50) };
    let engine = {
        let load = || -> Load<Script> {
            let script = script.clone();
            Box::new(move || Ok(script))
        };
        Engine::start(limits, (0..loads).map(|_| load()).collect(), |_| ((), 64)).unwrap().0
    };
    let caller = |seed: u64| {
        let mut state = seed;
        let mut random = |n: u64| {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % n
        };
        for _ in 0..rounds {
            let cancel = Cancel::new();
            let timeout = (random(4) == 0).then(|| Duration::from_micros(random(400)));
            let call = Call::new(timeout, (random(3) == 0).then(|| cancel.clone()));
            if random(20) == 0 {
                script.capacity.store(random(2) as usize * 3, Ordering::Relaxed);
            }
            let parts = 1 + random(3);
            let ask_texts = random(2) == 0;
            let poison = random(30) == 0;
            let result: Result<()> = std::thread::scope(|scope| {
                if random(3) == 0 {
                    let after = Duration::from_micros(random(300));
                    let cancel = &cancel;
                    scope.spawn(move || {
                        std::thread::sleep(after);
                        cancel.fire();
                    });
                }
                if ask_texts {
                    let all: Vec<Ids> =
                        (0..parts * 3).map(|_| vec![random(99) as u32; 1 + random(30) as usize]).collect();
                    let mut request = engine.request::<Ids>(&call)?;
                    all.chunks(3).try_for_each(|part| request.push(part.to_vec()))?;
                    request.finish(rows());
                    let got = request.wait()?;
                    let expected =
                        Array2::from_shape_fn((all.len(), 2), |(i, k)| [all[i][0], all[i].len() as u32][k] as f32);
                    assert_eq!(got, expected);
                } else {
                    let small = |a: u8, b: u8| Image { own: Square::new(vec![a, b]), before: None, after: None };
                    let a = if poison { POISON } else { 20 + random(200) as u8 };
                    let all: Vec<Image> = (0..parts * 5).map(|b| small(a, b as u8)).collect();
                    let mut request = engine.request::<Image>(&call)?;
                    all.chunks(5).try_for_each(|part| request.push(part.to_vec()))?;
                    request.finish(rows());
                    let got = request.wait()?;
                    let expected = Array2::from_shape_fn((all.len(), 2), |(i, k)| f32::from([a, i as u8][k]));
                    assert_eq!(got, expected);
                }
                Ok(())
            });
            match status(result) {
                None | Some(Status::Cancelled | Status::Timeout) => {}
                Some(Status::Backend) if poison && !ask_texts => {}
                Some(other) => panic!("{other:?}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let caller = &caller;
            scope.spawn(move || caller(seed));
        }
    });
    until(|| is_empty(&engine));
    assert_eq!(engine.run(&Call::default(), |_| Ok(1)).unwrap(), 1);
}

#[test]
fn many_callers_of_all_kinds() {
    many_callers(1);
}

#[test]
fn many_callers_of_several_threads() {
    many_callers(4);
}

/// Lengths as items.
impl Item for usize {
    fn length(&self) -> usize {
        *self
    }
}

type Replies = Vec<Receiver<Result<Array2<f32>>>>;

fn lane(requests: &[&[usize]]) -> (Lane<usize, ()>, Replies) {
    let mut lane = Lane::new();
    let permits = Permits::new(1000);
    let replies = requests.iter().map(|items| {
        let (reply, result) = crossbeam_channel::bounded(1);
        let id = lane.open(reply);
        assert!(lane.push(id, items.to_vec(), permits.take(1, &Call::default()).unwrap()));
        result
    });
    let replies = replies.collect();
    (lane, replies)
}

fn batch(lane: &mut Lane<usize, ()>, most: usize) -> Vec<usize> {
    let mut lengths: Vec<usize> = lane.batch(most).iter().map(|t| t.item).collect();
    lengths.sort_unstable();
    lengths
}

#[test]
fn a_pass_takes_so_much_length() {
    let (mut lane, _replies) = lane(&[&[7, 2], &[3], &[30, 1], &[1]]);
    assert_eq!((lane.waiting(), lane.length()), (6, 44));
    assert_eq!(batch(&mut lane, 10), [2, 7]);
    assert_eq!(batch(&mut lane, 10), [3]);
    assert_eq!(batch(&mut lane, 10), [30]);
    assert_eq!(batch(&mut lane, 10), [1, 1]);
    assert_eq!((lane.waiting(), lane.length(), batch(&mut lane, 10)), (0, 0, vec![]));
}

#[test]
fn a_long_request_lets_others_pass() {
    let film = [1; 100];
    let (mut lane, _replies) = lane(&[&film, &[1], &[1, 1]]);
    let requests = |lane: &mut Lane<usize, ()>| {
        let mut requests: Vec<u64> = lane.batch(10).iter().map(|t| t.request).collect();
        requests.dedup();
        requests
    };
    assert_eq!(requests(&mut lane), [0]);
    assert_eq!(requests(&mut lane), [1, 2, 0]);
    assert_eq!(requests(&mut lane), [0]);
    assert_eq!(lane.waiting(), 100 + 3 - 10 - 10 - 10);
}
