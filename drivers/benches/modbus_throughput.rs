//! Lines per second through the mailbox, as a share of what the frames and the silent intervals allow.
//!
//! `cargo bench -p drivers --bench modbus_throughput`, with `-- rtu` or `-- tcp` behind it for one of the two. The serial
//! line is a pseudo-terminal with a modelled line of 115200 baud on it; its bound follows from the bytes of each frame, ten
//! bits each, and 1.75 ms of silence after each.
//!
//! Over TCP on loopback no time follows from the frames: what a transaction takes is what the kernel and the device take.
//! There the bound is measured in the same run, as the rate of a bare loop on a blocking socket that writes the same
//! frames with the same lines to the same simulated machine and reads each answer before it writes the next. It knows
//! no program, no session and no time limit. A bare loop of the library's client (tokio-modbus) shows what of the rest is
//! the library's. The three take turns, and the best turn of each counts: whatever else runs on the computer makes all of
//! them slower, and none faster.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a bench fails loudly and prints")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drivers::machine::Setup;
use drivers::modbus::mailbox::{HOST_BLOCK, SLOTS, machine, slot_head};
use drivers::profile::Profile;
use drivers::request::Job;
use drivers::sim::port::{Between, Port};
use drivers::sim::{self, LineSpeed, simulated};
use drivers::{State, shell};
use tokio::runtime::Runtime;
use tokio_modbus::Request;
use tokio_modbus::client::Client as _;
use tokio_modbus::slave::Slave;

/// Words of a slot, slots of the machine, and slots in one write: as the simulated machine has them.
const SLOT_WORDS: usize = 32;
const SLOT_COUNT: usize = 30;
const SLOTS_A_WRITE: usize = 3;

/// Status words that function 23 brings back.
const STATUS_WORDS: usize = machine::STATUS_WORDS as usize;

/// Turns that the bound and the mailbox take over TCP, and lines in each.
const TURNS: usize = 25;
const TCP_LINES: u64 = 30_000;

/// Silence after each frame above 19200 baud (Modbus over Serial Line 1.02, 2.5.1.1).
const SILENCE_S: f64 = 0.001_75;

fn main() {
    // What `cargo test --benches` asks for: that it builds and begins.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let named: Vec<String> = std::env::args().filter(|argument| ["rtu", "tcp"].contains(&argument.as_str())).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|it| it == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if wanted("rtu") {
        serial_line(&runtime);
    }
    if wanted("tcp") {
        loopback(&runtime);
    }
}

fn serial_line(runtime: &Runtime) {
    let baud = 115_200;
    let words = SLOT_WORDS * SLOTS_A_WRITE;
    // Unit, function, four words of addresses and counts, the byte count, and two bytes of CRC around the words.
    let bytes = (13 + 2 * words) + (5 + 2 * STATUS_WORDS);
    let seconds = bytes as f64 * 10.0 / f64::from(baud) + 2.0 * SILENCE_S;
    let bound = SLOTS_A_WRITE as f64 / seconds;
    let measured = runtime.block_on(stream("modbus-rtu", LineSpeed { baud, latency: Duration::ZERO }, 6_000));
    println!(
        "RTU 115200: {measured:.0} lines/s of {bound:.0} that the frames allow: {:.0} %",
        measured / bound * 100.0
    );
}

fn loopback(runtime: &Runtime) {
    let mut rates = [[0.0; TURNS]; 3];
    for turn in 0..TURNS {
        rates[0][turn] = bare(TCP_LINES);
        rates[1][turn] = runtime.block_on(library(TCP_LINES));
        rates[2][turn] = runtime.block_on(stream("modbus-tcp", LineSpeed::default(), TCP_LINES));
    }
    let [socket, library, measured] = rates.map(|turns| turns.into_iter().fold(0.0, f64::max));
    println!(
        "TCP loopback: {measured:.0} lines/s of {socket:.0} that a bare socket carries: {:.0} %; of {library:.0} that the bare library carries: {:.0} %",
        measured / socket * 100.0,
        measured / library * 100.0,
    );
    let mut shares: Vec<f64> =
        rates[0].iter().zip(&rates[2]).map(|(bound, measured)| measured / bound * 100.0).collect();
    shares.sort_by(f64::total_cmp);
    println!(
        "  turn by turn {:.0} to {:.0} % of the bare socket, the middle one {:.0} %",
        shares[0],
        shares[TURNS - 1],
        shares[TURNS / 2]
    );
}

fn serve(kind: &str, speed: LineSpeed) -> (Port, String) {
    let setup = sim::Setup { speed: f64::INFINITY, ..sim::Setup::default() };
    let machine = simulated(kind, &setup).unwrap();
    let between = Between { speed, ..Between::default() };
    if kind == "modbus-tcp" {
        let port = Port::on_tcp(machine, between, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.address().replace("tcp://", "modbus-tcp://");
        return (port, address);
    }
    let port = Port::on_pty(machine, between, None).unwrap();
    let address = format!("modbus-rtu:{}?baud=115200", port.address());
    (port, address)
}

/// Streams a program; its lines per second.
async fn stream(kind: &str, speed: LineSpeed, lines: u64) -> f64 {
    let (_port, address) = serve(kind, speed);
    let profile = Profile::named("generic-mailbox").unwrap();
    let setup = Setup {
        name: "bench".into(),
        port: address,
        baud: drivers::machine::Baud::Profile,
        profile: Arc::new(profile),
        reconnect: false,
    };
    let machine = shell::spawn(setup).unwrap();
    let mut watch = machine.watch();
    watch.wait_for(|snapshot| snapshot.state == State::Idle).await.unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let program: Vec<String> = (1..=lines as usize).map(command).collect();
    file.write_all(program.join("\n").as_bytes()).unwrap();
    let job = Job { id: "bench".into(), lines, from_line: 1 };
    let started = Instant::now();
    machine.start(job, file.path().to_owned()).await.unwrap();
    let streamed = watch.wait_for(|snapshot| snapshot.job.as_ref().is_some_and(|job| job.accepted >= lines));
    drop(streamed.await.unwrap());
    lines as f64 / started.elapsed().as_secs_f64()
}

/// The same frames from a bare loop on a socket; the lines per second that this carries.
fn bare(lines: u64) -> f64 {
    let (_port, address) = serve("modbus-tcp", LineSpeed::default());
    let mut socket = TcpStream::connect(address.trim_start_matches("modbus-tcp://")).unwrap();
    socket.set_nodelay(true).unwrap();
    let session = 1;
    write_registers(&mut socket, HOST_BLOCK, &[session, 1, 0, 0, 0]);
    let started = Instant::now();
    let mut taken = 0;
    for first in (1..=lines as usize).step_by(SLOTS_A_WRITE) {
        let place = (first - 1) % SLOT_COUNT * SLOT_WORDS;
        let words: Vec<u16> = (first..first + SLOTS_A_WRITE).flat_map(|line| slot(session, line)).collect();
        taken = read_write(&mut socket, SLOTS + place as u16, &words)[usize::from(machine::TAKEN - machine::SESSION)];
    }
    let seconds = started.elapsed().as_secs_f64();
    // The machine looks after it has answered: the last lines were taken behind the last answer.
    assert_eq!(taken, (lines as usize - SLOTS_A_WRITE) as u16, "every line was taken");
    lines as f64 / seconds
}

/// The same from a bare loop of the library's client.
async fn library(lines: u64) -> f64 {
    let (_port, address) = serve("modbus-tcp", LineSpeed::default());
    let socket = tokio::net::TcpStream::connect(address.trim_start_matches("modbus-tcp://")).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut client = tokio_modbus::client::tcp::attach_slave(socket, Slave(1));
    let session = 1;
    let begin = Request::WriteMultipleRegisters(HOST_BLOCK, vec![session, 1, 0, 0, 0].into());
    client.call(begin).await.unwrap().unwrap();
    let started = Instant::now();
    for first in (1..=lines as usize).step_by(SLOTS_A_WRITE) {
        let place = (first - 1) % SLOT_COUNT * SLOT_WORDS;
        let words: Vec<u16> = (first..first + SLOTS_A_WRITE).flat_map(|line| slot(session, line)).collect();
        let (count, address) = (STATUS_WORDS as u16, SLOTS + place as u16);
        let question = Request::ReadWriteMultipleRegisters(machine::SESSION, count, address, words.into());
        client.call(question).await.unwrap().unwrap();
    }
    lines as f64 / started.elapsed().as_secs_f64()
}

/// A line in its slot.
fn slot(session: u16, line: usize) -> Vec<u16> {
    let text = command(line);
    let mut words = vec![slot_head(session, text.len())];
    let text = text.as_bytes().chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    words.extend(text);
    words.resize(SLOT_WORDS - 1, 0);
    words.push(line as u16);
    words
}

fn write_registers(socket: &mut TcpStream, address: u16, words: &[u16]) {
    let mut body = vec![1, 16];
    body.extend(address.to_be_bytes());
    counted(&mut body, words);
    assert_eq!(transact(socket, &body)[7], 16);
}

/// Function 23; the status words.
fn read_write(socket: &mut TcpStream, address: u16, words: &[u16]) -> Vec<u16> {
    let mut body = vec![1, 23];
    for word in [machine::SESSION, STATUS_WORDS as u16, address] {
        body.extend(word.to_be_bytes());
    }
    counted(&mut body, words);
    let answer = transact(socket, &body);
    assert_eq!((answer[7], usize::from(answer[8])), (23, 2 * STATUS_WORDS));
    answer[9..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

fn counted(body: &mut Vec<u8>, words: &[u16]) {
    body.extend((words.len() as u16).to_be_bytes());
    body.push((2 * words.len()) as u8);
    body.extend(words.iter().flat_map(|word| word.to_be_bytes()));
}

/// Writes a frame and reads the answer to it, header and all.
fn transact(socket: &mut TcpStream, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 1, 0, 0];
    frame.extend((body.len() as u16).to_be_bytes());
    frame.extend(body);
    socket.write_all(&frame).unwrap();
    let mut answer = vec![0; 300];
    let mut heard = 0;
    while heard < 6 || heard < 6 + usize::from(u16::from_be_bytes([answer[4], answer[5]])) {
        heard += socket.read(&mut answer[heard..]).unwrap();
    }
    answer.truncate(heard);
    answer
}

/// A line of the program, as it goes over.
fn command(line: usize) -> String {
    if line == 1 { "G1F3000".to_owned() } else { format!("G1X{}.{:03}Y{}.5", line % 100, line % 1000, line % 90) }
}
