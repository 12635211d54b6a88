//! Clients that take their time, over real sockets and with short limits.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::{get, post};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::*;

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

/// Far beyond what a loaded computer needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Limits that nobody reaches.
fn wide() -> Limits {
    Limits {
        all: 100,
        of_one_client: 100,
        of_this_computer: 100,
        head: LONG,
        idle: LONG,
        pause: LONG,
        late: LONG,
        bytes_per_s: 1000,
        stall: LONG,
        urgent: LONG,
    }
}

/// Something that serves, and how it is told to stop.
struct Serving {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    over: tokio::task::JoinHandle<()>,
    begun: Arc<AtomicUsize>,
}

impl Serving {
    async fn with(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = begun.clone();
        let read = move |body: axum::body::Bytes| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { body.len().to_string() }
        };
        let counted = begun.clone();
        let slow = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            sleep(SHORT * 2)
        };
        let counted = begun.clone();
        let for_ever = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>()
        };
        let router = Router::new()
            .route("/read", post(read))
            .route("/much", get(|| async { vec![b'x'; 64 << 20] }))
            .route("/slow", get(slow))
            .route("/for-ever", get(for_ever))
            .route("/machines/m/stop", post(|| async { "stopped" }));
        let over = tokio::spawn(keep(listener, router, limits, stopped));
        Self { address, stop, over, begun }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends something, and everything that is answered until the connection ends.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    /// A client whose request is done for ever.
    async fn busy(&self) -> TcpStream {
        let mut stream = self.connect().await;
        let before = self.begun.load(Ordering::SeqCst);
        stream.write_all(b"GET /for-ever HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        while self.begun.load(Ordering::SeqCst) == before {
            sleep(SHORT / 30).await;
        }
        stream
    }
}

/// Everything that comes until the connection ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A connection that is reset has ended as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("it does not end");
    String::from_utf8_lossy(&heard).into_owned()
}

fn code(answer: &str) -> String {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let document: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert!(document["title"].as_str().is_some_and(|title| title.ends_with('.')), "{document}");
    document["code"].as_str().unwrap().to_owned()
}

const STOP: &str = "POST /machines/m/stop HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const READ: &str = "GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_in_was_waited_for_for_ever() {
    let serving = Serving::with(Limits { head: SHORT, ..wide() }).await;
    let mut stream = serving.connect().await;
    let (mut reading, mut writing) = stream.split();
    let trickle = async {
        for byte in STOP.bytes().cycle() {
            if byte != b'\r' && writing.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(SHORT / 10).await;
        }
        std::future::pending::<()>().await;
    };
    let mut heard = vec![0; 4096];
    let count = tokio::select! {
        count = timeout(PATIENCE, reading.read(&mut heard)) => count.expect("it is never ended").unwrap(),
        () = trickle => unreachable!(),
    };
    let answer = String::from_utf8_lossy(&heard[..count]);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(code(&answer), "http.too_slow");
    // Nothing at all is answered with nothing: browsers open connections before they need them.
    assert_eq!(rest(&mut serving.connect().await).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_in_or_stays_away_was_waited_for_for_ever() {
    let head = "POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    let silent = Serving::with(Limits { pause: SHORT, ..wide() }).await;
    let answer = silent.ask(head).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"), "{answer}");
    assert_eq!(code(&answer), "http.too_slow");
    // It never pauses for long, and is late all the same: a byte every 30 ms is no 1000 a second.
    let trickling = Serving::with(Limits { late: SHORT, ..wide() }).await;
    let mut stream = trickling.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut heard = [0; 12];
    while timeout(SHORT / 10, stream.read_exact(&mut heard)).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "it is never ended");
        let _ = stream.write_all(b"x").await;
    }
    assert_eq!(&heard, b"HTTP/1.1 408");
    assert!(began.elapsed() >= SHORT, "{:?}", began.elapsed());
    assert_eq!(trickling.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_goes_on_takes_as_long_as_it_takes() {
    let late = Duration::from_secs(2);
    let serving = Serving::with(Limits { late, ..wide() }).await;
    let mut stream = serving.connect().await;
    let head = "POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 20000\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Not once late, and longer in all than it may be late by.
    for _ in 0..20 {
        sleep(late / 15).await;
        stream.write_all(&[b'x'; 1000]).await.unwrap();
    }
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("20000"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_its_answer_was_kept_for_ever() {
    let serving = Serving::with(Limits { stall: SHORT, all: 1, of_this_computer: 1, ..wide() }).await;
    let mut deaf = serving.connect().await;
    deaf.write_all(b"GET /much HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let began = Instant::now();
    // Its place is free again.
    loop {
        let answer = serving.ask(READ).await;
        if answer.starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert_eq!(code(&answer), "http.too_many");
        assert!(began.elapsed() < PATIENCE);
        sleep(SHORT / 10).await;
    }
    assert!(rest(&mut deaf).await.len() < 64 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_nobody_uses_end_and_those_in_use_do_not() {
    let serving = Serving::with(Limits { idle: SHORT, head: SHORT, ..wide() }).await;
    let mut stream = serving.connect().await;
    // Longer than the head of a request may take, and than nothing may happen.
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("408"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_make_room_for_whoever_comes() {
    let serving = Serving::with(Limits { all: 10, of_this_computer: 10, ..wide() }).await;
    let mut half_open = Vec::new();
    for _ in 0..100 {
        let mut stream = serving.connect().await;
        stream.write_all(b"POST /read HTTP/1.1\r\nhost:").await.unwrap();
        half_open.push(stream);
    }
    let answer = serving.ask(READ).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(code(&rest(&mut half_open[0]).await), "http.too_many");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_places_are_taken_a_stop_is_done_and_anything_else_is_told_why_not() {
    let serving = Serving::with(Limits { all: 4, of_this_computer: 4, ..wide() }).await;
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.push(serving.busy().await);
    }
    let refused = serving.ask(READ).await;
    assert_eq!(code(&refused), "http.too_many");
    assert!(
        refused.starts_with("HTTP/1.1 503 ")
            && refused.contains("retry-after")
            && refused.contains("connection: close"),
        "{refused}"
    );
    let stopped = serving.ask(STOP).await;
    assert!(stopped.starts_with("HTTP/1.1 200 ") && stopped.ends_with("stopped"), "{stopped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_being_answered_when_the_agent_ends_gets_the_answer() {
    let serving = Serving::with(wide()).await;
    let asked = tokio::spawn({
        let address = serving.address;
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            rest(&mut stream).await
        }
    });
    let mut idle = serving.connect().await;
    while serving.begun.load(Ordering::SeqCst) == 0 {
        sleep(SHORT / 10).await;
    }
    serving.stop.send(true).unwrap();
    assert!(asked.await.unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!(rest(&mut idle).await, "");
    timeout(PATIENCE, serving.over).await.unwrap().unwrap();
}

#[test]
fn what_stops_a_machine_and_what_says_how_it_is_are_urgent() {
    for (method, path, urgent) in [
        (Method::POST, "/api/v1/machines/mill/stop", true),
        (Method::POST, "/api/v1/jobs/1/pause", true),
        (Method::POST, "/api/v1/jobs/1/cancel", true),
        (Method::POST, "/api/v1/jobs/1/start", false),
        (Method::POST, "/api/v1/machines/mill/jobs", false),
        (Method::GET, "/api/v1/machines/mill", true),
        (Method::GET, "/healthz", true),
        (Method::GET, "/api/v1/events", false),
        (Method::GET, "/api/v1/jobs/1/program", false),
    ] {
        assert_eq!(is_urgent(&method, path), urgent, "{method} {path}");
    }
}
