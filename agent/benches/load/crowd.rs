//! Clients in numbers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Uploads that are under way, and connections whose request never comes to its end.
pub(crate) const UPLOADS: usize = 300;
const HALF_OPEN: usize = 1100;

/// An upload, which ends before its last piece, and how it comes.
const UPLOAD_BYTES: usize = 8_000_000;
const PIECE: usize = 2000;
const PIECES_EVERY: Duration = Duration::from_millis(5);

/// This process holds the other ends of them all.
pub(crate) fn many_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let wanted = maximum.map_or(4096, |maximum| maximum.min(4096));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
}

/// Reads what nobody wants to know, so that it fills no pipe.
pub(crate) fn drain(mut words: impl std::io::Read + Send + 'static) {
    std::thread::spawn(move || std::io::copy(&mut words, &mut std::io::sink()));
}

/// Follows the events, and counts them.
pub(crate) async fn follow(address: String, events: Arc<AtomicU64>) {
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = [0; 4096];
    // The agent ends before the followers do.
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let begun = buffer[..count].windows(5).filter(|five| five == b"data:").count();
        events.fetch_add(begun as u64, Ordering::Relaxed);
    }
}

/// Connections on which a request begins and does not go on.
pub(crate) fn half_open(address: &str) -> Vec<TcpStream> {
    let begin = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(b"POST /api/v1/machines/m1/jobs HTTP/1.1\r\nHost: 127");
        stream
    };
    (0..HALF_OPEN).map(begin).collect()
}

/// Uploads that go on until the flag is taken away, none of them to its end; how many bytes were taken.
pub(crate) fn upload(address: &str, machine: usize, goes_on: &Arc<AtomicBool>) -> std::thread::JoinHandle<usize> {
    let begin = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST /api/v1/machines/m{machine}/jobs HTTP/1.1\r\nHost: {address}\r\nContent-Length: {UPLOAD_BYTES}\r\n\r\n"
        )
        .unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut uploads: Vec<_> = (0..UPLOADS).map(begin).collect();
    let goes_on = goes_on.clone();
    std::thread::spawn(move || {
        let mut sent = vec![0; uploads.len()];
        while goes_on.load(Ordering::Relaxed) {
            for (stream, sent) in uploads.iter_mut().zip(&mut sent) {
                if *sent + PIECE < UPLOAD_BYTES {
                    *sent += stream.write(&[b'\n'; PIECE]).unwrap_or(0);
                }
            }
            std::thread::sleep(PIECES_EVERY);
        }
        sent.iter().sum()
    })
}

/// A broker that welcomes everybody and then never reads again.
pub(crate) fn hung_broker() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            // CONNACK of MQTT 5: no session, success, no properties.
            let _ = stream.write_all(&[0x20, 3, 0, 0, 0]);
            held.push(stream);
        }
    });
    port
}
