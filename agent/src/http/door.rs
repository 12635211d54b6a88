//! Lets clients in, keeps to the limits of each, and never stops letting in: who comes when all places and files are
//! taken can still stop a machine.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use drivers::Notice;
use drivers::repeats::Repeats;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use nix::errno::Errno;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

use super::crowd::{Crowd, Guest, Limits, Phase, slept_through};
use super::problem::Problem;
use super::stream::{Listener, Peer, Stream};
use super::wire::{Answered, Asked, Wire};
use crate::host::descriptors::Spare;

/// Files kept open for nothing, so that somebody can be let in when no other can be opened.
const SPARES: usize = 8;

/// Pause after an error that the next attempt would find again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What clients bring about again and again is said this often in the log.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Bytes kept of a connection while they are read: the longest head of a request, and one piece of a body.
const BUFFER: usize = 32 * 1024;

/// How a request is answered.
type Answer = Pin<Box<dyn Future<Output = Result<Response<Answered>, Infallible>> + Send>>;

/// The door.
struct Door {
    crowd: Crowd,
    router: TowerToHyperService<Router>,
    guests: JoinSet<()>,
    spares: Vec<Spare>,
    /// What was said in the log of files that cannot be opened, and of faults.
    no_files: Repeats,
    faults: Repeats,
    stopped: watch::Receiver<bool>,
}

/// Lets clients in until `stopped`, then waits until those who are being answered have their answers.
pub(super) async fn keep(
    listener: impl Into<Listener>,
    router: Router,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = listener.into();
    let mut door = Door {
        crowd: Crowd::new(limits),
        router: TowerToHyperService::new(router),
        guests: JoinSet::new(),
        spares: Vec::new(),
        no_files: Repeats::new(SAID_AGAIN_AFTER),
        faults: Repeats::new(SAID_AGAIN_AFTER),
        stopped: stopped.clone(),
    };
    door.keep_spares();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => door.let_in(stream, from),
                Err(error) => door.cannot(&error).await,
            },
            Some(left) = door.guests.join_next() => {
                if let Err(error) = left {
                    if let Some(repeated) = door.faults.say("connection", Instant::now()) {
                        tracing::error!(repeated = repeated.0, %error, "a fault ended a connection");
                    }
                }
                door.keep_spares();
            }
            () = is_told(&mut stopped) => break,
        }
    }
    drop(listener);
    while door.guests.join_next().await.is_some() {}
}

impl Door {
    fn let_in(&mut self, stream: Stream, from: Peer) {
        let short = self.spares.len() < SPARES;
        match self.crowd.admit(from.client(), short) {
            Some(guest) => {
                let (router, stopped) = (self.router.clone(), self.stopped.clone());
                self.guests.spawn(serve(stream, from, guest, router, stopped));
            }
            None => drop(stream.try_write(&spoken(&too_many()))),
        }
        self.keep_spares();
    }

    /// Opens as many spares as there should be, and can.
    fn keep_spares(&mut self) {
        while self.spares.len() < SPARES {
            let Some(spare) = Spare::open() else { return };
            self.spares.push(spare);
        }
        self.no_files.well(Instant::now());
    }

    /// Somebody could not be let in. Where no file can be opened, one that was kept for this makes room: the next attempt
    /// succeeds.
    async fn cannot(&mut self, error: &io::Error) {
        match error.raw_os_error().map(Errno::from_raw) {
            // Whoever it was has gone already.
            Some(Errno::ECONNABORTED | Errno::ECONNRESET | Errno::EPROTO | Errno::EINTR) => {}
            Some(Errno::EMFILE | Errno::ENFILE) if self.spares.pop().is_some() => self.tell(error),
            _ => {
                self.tell(error);
                sleep(AGAIN_AFTER).await;
            }
        }
    }

    fn tell(&mut self, error: &io::Error) {
        if let Some(repeated) = self.no_files.say("files", Instant::now()) {
            tracing::warn!(repeated = repeated.0, %error, "clients are let in one at a time, in place of others");
        }
    }
}

/// Waits until the agent ends.
async fn is_told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// By itself, or by its client.
    Ended,
    /// Its client took too long.
    Slow,
    /// It makes room for another.
    InTheWay,
}

/// The life of a connection.
async fn serve(
    stream: Stream,
    from: Peer,
    guest: Arc<Guest>,
    router: TowerToHyperService<Router>,
    mut stopped: watch::Receiver<bool>,
) {
    stream.set(guest.limits.stall);
    let wire = TokioIo::new(Wire::new(stream, guest.clone()));
    let asked = guest.clone();
    let service = service_fn(move |request| answer(request, from, asked.clone(), router.clone()));
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER).keep_alive(!guest.urgent_only).header_read_timeout(None);
    let mut connection = builder.serve_connection(wire, service);
    let mut alarm = Box::pin(sleep(guest.limits.head));
    let mut ending = false;
    let over = loop {
        tokio::select! {
            biased;
            over = poll_fn(|context| turn(&mut connection, &guest, alarm.as_mut(), context)) => break over,
            () = guest.has_to_leave() => {
                // A request that came meanwhile is answered.
                if guest.phase() != Phase::Busy {
                    break Over::InTheWay;
                }
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = is_told(&mut stopped), if !ending => {
                ending = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let phase = guest.phase();
    let problem = match over {
        Over::Ended => return,
        // Between two requests a connection may end at any time.
        _ if phase == Phase::Idle => return,
        Over::Slow => too_slow(),
        Over::InTheWay => too_many(),
    };
    let parts = connection.into_parts();
    // A browser opens connections before it needs them, and expects nothing on them.
    if over == Over::InTheWay || !parts.read_buf.is_empty() {
        parts.io.into_inner().say(&spoken(&problem));
    }
}

/// Moves a connection on, unless its client has taken too long for what it is at.
fn turn<S>(
    connection: &mut http1::Connection<TokioIo<Wire>, S>,
    guest: &Guest,
    mut alarm: Pin<&mut Sleep>,
    context: &mut Context<'_>,
) -> Poll<Over>
where
    S: HttpService<Incoming, ResBody = Answered, Error = Infallible>,
    http1::Connection<TokioIo<Wire>, S>: Future<Output = hyper::Result<()>> + Unpin,
{
    // What goes wrong is the client's, and it is gone.
    if Pin::new(connection).poll(context).is_ready() {
        return Poll::Ready(Over::Ended);
    }
    loop {
        let Some(until) = guest.until() else { return Poll::Pending };
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        ready!(alarm.as_mut().poll(context));
        if !slept_through(until) {
            return Poll::Ready(Over::Slow);
        }
        guest.begins_anew();
    }
}

fn answer(request: Request<Incoming>, from: Peer, guest: Arc<Guest>, router: TowerToHyperService<Router>) -> Answer {
    guest.asks();
    let refused = guest.urgent_only && !is_urgent(request.method(), request.uri().path());
    let mut request = request.map(|body| Body::new(Asked::new(body, guest.clone())));
    request.extensions_mut().insert(from);
    Box::pin(async move {
        let mut response = if refused {
            too_many().into_response()
        } else {
            let Ok(response) = router.call(request).await;
            response
        };
        if guest.was_too_slow() {
            response = too_slow().into_response();
        }
        if refused || guest.was_too_slow() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| Answered::new(body, guest)))
    })
}

/// What is done also for those for whom there is no place: what stops a machine, and what says how it is.
fn is_urgent(method: &Method, path: &str) -> bool {
    match *method {
        Method::POST => ["/stop", "/pause", "/cancel"].iter().any(|ending| path.ends_with(ending)),
        Method::GET => path == "/healthz" || path.starts_with("/api/v1/machines"),
        _ => false,
    }
}

fn too_slow() -> Problem {
    let notice = Notice::new(
        "http.too_slow",
        "The request took too long to arrive.",
        "Nothing was kept, and the connection was closed.",
        "Send it again, on a better connection.",
    );
    Problem::new(StatusCode::REQUEST_TIMEOUT, &notice)
}

fn too_many() -> Problem {
    let notice = Notice::new(
        "http.too_many",
        "Too many connections are open, from here or in all.",
        "Nothing was done, and the connection was closed. Stopping works all the same.",
        "Close some, such as forgotten pages, and try again in a moment. \
         For a proxy with many behind it, raise `http.connections_per_client`.",
    );
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, &notice)
}

/// A problem as it is said to somebody whose request nobody reads.
fn spoken(problem: &Problem) -> Vec<u8> {
    let status = problem.status();
    let body = problem.document().to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod test;
