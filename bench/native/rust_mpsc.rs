//! The original's inbox: std::sync::mpsc between two threads, argv as owned Vec<Vec<u8>>.
//!
//! rust_mpsc events|ingest|snapshot|stall COUNT [check]: one round, one line of JSON.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Instant;
use std::{env, fs, process, thread};

type Argv = Vec<Vec<u8>>;
enum Event {
    Frame(u64, Argv),
    Chunk(Vec<u8>),
}

const CHUNK_BYTES: usize = 65536;
const SNAPSHOT_CHUNKS: usize = 1024; // then the shard's buffer is used again from its start
const WIRE_FRAMES: u64 = 20000; // read again and again, like a receive buffer

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d049bb133111eb);
    x ^ (x >> 31)
}

/// The same frame as the native contenders build: SET, a 16-byte key, a 64-byte value.
fn key_and_value(i: u64) -> (Vec<u8>, Vec<u8>) {
    let key = format!("key:{:012}", mix(i) % 1_000_000).into_bytes();
    (key, (0..64).map(|b| b'a' + (mix(i).wrapping_add(b) % 26) as u8).collect())
}

fn digest(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8);
    let tail = words.remainder().iter().fold(0u64, |sum, &b| (sum << 8) | b as u64);
    words.fold(tail, |sum, word| sum.wrapping_add(u64::from_le_bytes(word.try_into().unwrap())))
}

fn number(wire: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    while wire[*at] != b'\r' {
        value = value * 10 + (wire[*at] - b'0') as u64;
        *at += 1;
    }
    *at += 2;
    value
}

/// `*2 :<offset> *<n> ($<len> <bytes>) x n` at `at`, as owned arguments.
fn frame(wire: &[u8], at: &mut usize) -> (u64, Argv) {
    *at += 1;
    number(wire, at);
    *at += 1;
    let offset = number(wire, at);
    *at += 1;
    let argc = number(wire, at) as usize;
    let mut argv = Vec::with_capacity(argc);
    for _ in 0..argc {
        *at += 1;
        let length = number(wire, at) as usize;
        argv.push(wire[*at..*at + length].to_vec());
        *at += length + 2;
    }
    (offset, argv)
}

/// The shard's buffer, every page of it touched before the time begins, as in the other contenders.
fn shard_buffer() -> Vec<u8> {
    let mut buffer = vec![1u8; SNAPSHOT_CHUNKS * CHUNK_BYTES];
    buffer.clear();
    buffer
}

/// Every byte of every frame, or (for `events`) the lengths; returns (frames, digest).
fn receive(rx: Receiver<Event>, mut snapshot: Vec<u8>, every_byte: bool, in_order: bool) -> (u64, u64) {
    let (mut frames, mut sum) = (0, 0u64);
    for event in rx {
        match event {
            Event::Frame(offset, argv) => {
                if in_order && offset != frames {
                    wrong("a frame is out of order");
                }
                frames += 1;
                for argument in &argv {
                    sum = sum.wrapping_add(if every_byte { digest(argument) } else { argument.len() as u64 });
                }
            }
            Event::Chunk(chunk) => {
                if snapshot.len() >= SNAPSHOT_CHUNKS * CHUNK_BYTES {
                    snapshot.clear();
                }
                snapshot.extend_from_slice(&chunk);
                frames += 1;
                sum = sum.wrapping_add(if every_byte { digest(&chunk) } else { chunk.len() as u64 });
            }
        }
    }
    (frames, sum)
}

fn wrong(what: &str) -> ! {
    eprintln!("{what}");
    process::exit(3)
}

fn resident_bytes() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

/// Seconds from the first send to the end of the receiver, which must have taken `count` events with that digest.
fn timed(what: &str, send: impl FnOnce(Sender<Event>), every_byte: bool, in_order: bool, count: u64, expected: u64) -> f64 {
    let (tx, rx) = channel();
    let buffer = if in_order { Vec::new() } else { shard_buffer() };
    let begin = Instant::now();
    let shard = thread::spawn(move || receive(rx, buffer, every_byte, in_order));
    send(tx);
    let got = shard.join().unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    if got != (count, expected) {
        wrong(&format!("{what}: count or digest"));
    }
    seconds
}

/// The sum of `one(i)` over `count` events that repeat after `period`, or the lengths if not every byte is looked at.
fn expected(check: bool, count: u64, period: u64, length: u64, one: impl Fn(u64) -> u64) -> u64 {
    if check { (0..count).fold(0u64, |sum, i| sum.wrapping_add(one(i % period))) } else { count * length }
}

fn argv_of((key, value): &(Vec<u8>, Vec<u8>)) -> Argv {
    vec![b"SET".to_vec(), key.clone(), value.clone()]
}

fn digest_of((key, value): &(Vec<u8>, Vec<u8>)) -> u64 {
    digest(b"SET").wrapping_add(digest(key)).wrapping_add(digest(value))
}

fn events(count: u64, check: bool) -> (f64, f64, String) {
    let made: Vec<_> = (0..1024).map(key_and_value).collect();
    let send = |tx: Sender<Event>| (0..count).for_each(|i| tx.send(Event::Frame(i, argv_of(&made[(i % 1024) as usize]))).unwrap());
    let sum = expected(check, count, 1024, 83, |i| digest_of(&made[i as usize]));
    (timed("events", send, check, true, count, sum), count as f64, String::new())
}

fn ingest(count: u64, _check: bool) -> (f64, f64, String) {
    let (mut wire, mut one_pass) = (Vec::new(), 0u64);
    for i in 0..WIRE_FRAMES {
        let made = key_and_value(i);
        wire.extend(format!("*2\r\n:{}\r\n*3\r\n$3\r\nSET\r\n$16\r\n", 1_000_000 + i).bytes());
        wire.extend(&made.0);
        wire.extend(b"\r\n$64\r\n");
        wire.extend(&made.1);
        wire.extend(b"\r\n");
        one_pass = one_pass.wrapping_add(digest_of(&made));
    }
    let passes = count.div_ceil(WIRE_FRAMES);
    let send = |tx: Sender<Event>| {
        for pass in 0..passes {
            let mut at = 0;
            while at < wire.len() {
                let (offset, argv) = frame(&wire, &mut at);
                tx.send(Event::Frame(offset - 1_000_000 + pass * WIRE_FRAMES, argv)).unwrap();
            }
        }
    };
    let frames = passes * WIRE_FRAMES;
    let seconds = timed("ingest", send, true, true, frames, one_pass.wrapping_mul(passes));
    (seconds, frames as f64, format!("\"wire_bytes_per_s\": {:.0}", (wire.len() as u64 * passes) as f64 / seconds))
}

fn snapshot(count: u64, check: bool) -> (f64, f64, String) {
    let chunks: Vec<Vec<u8>> = (0..16).map(|n| (0..CHUNK_BYTES as u64).map(|b| mix(n << 32 | b) as u8).collect()).collect();
    let send = |tx: Sender<Event>| (0..count).for_each(|i| tx.send(Event::Chunk(chunks[(i % 16) as usize].clone())).unwrap());
    let sum = expected(check, count, 16, CHUNK_BYTES as u64, |i| digest(&chunks[i as usize]));
    (timed("snapshot", send, check, false, count, sum), (count * CHUNK_BYTES as u64) as f64, String::new())
}

/// The receiver does not read while all are sent. Measures the time of a send and the memory of an event that waits.
fn stall(count: u64, check: bool) -> (f64, f64, String) {
    let made: Vec<_> = (0..1024).map(key_and_value).collect();
    let mut took = vec![1u32; count as usize]; // touched before the memory is looked at
    let (tx, rx) = channel();
    let before = resident_bytes();
    let begin = Instant::now();
    for i in 0..count {
        let start = Instant::now();
        tx.send(Event::Frame(i, argv_of(&made[(i % 1024) as usize]))).unwrap();
        took[i as usize] = start.elapsed().as_nanos().min(u32::MAX as u128) as u32;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let per_event = (resident_bytes() - before) / count as f64;
    drop(tx);
    let drain = Instant::now();
    let (got, _) = thread::spawn(move || receive(rx, Vec::new(), check, true)).join().unwrap();
    let drained = count as f64 / drain.elapsed().as_secs_f64();
    if got != count {
        wrong("stall: count");
    }
    took.sort_unstable();
    let at = |share: f64| took[((count - 1) as f64 * share) as usize] as f64 / 1000.0;
    let figures = format!(
        "\"p50_us\": {:.3}, \"p99_9_us\": {:.3}, \"max_us\": {:.3}, \"bytes_per_event\": {:.1}, \"drained_per_s\": {:.0}",
        at(0.5), at(0.999), at(1.0), per_event, drained
    );
    (seconds, count as f64, figures)
}

fn main() {
    let args: Vec<String> = env::args().collect();
    let count = args.get(2).and_then(|text| text.parse().ok()).unwrap_or(0);
    let check = args.get(3).is_some_and(|word| word == "check");
    let (seconds, work, figures) = match (args.get(1).map(String::as_str), count) {
        (Some("events"), 1..) => events(count, check),
        (Some("ingest"), 1..) => ingest(count, check),
        (Some("snapshot"), 1..) => snapshot(count, check),
        (Some("stall"), 1..) => stall(count, check),
        _ => {
            eprintln!("usage: rust_mpsc events|ingest|snapshot|stall COUNT [check]");
            process::exit(2)
        }
    };
    println!("{{\"seconds\": {seconds:.6}, \"work\": {work:.0}, \"figures\": {{{figures}}}}}");
}
