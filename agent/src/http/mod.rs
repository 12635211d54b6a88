//! The HTTP server: the page, the API and the event stream.

mod auth;
mod by_hand;
mod claim;
mod crowd;
mod door;
mod events;
mod jobs;
mod machines;
mod openapi;
mod origin;
mod page;
mod people;
mod preview;
mod problem;
mod query;
mod record;
mod resume;
mod rights;
mod stream;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use drivers::Notice;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config;
use crate::desk::Desk;
use crate::host::descriptors;
use crate::host::socket::{NoSocket, OwnersSocket};
use crate::keys;
use crate::pins::Pins;
use crowd::Limits;
use problem::Problem;

/// How long open connections may take to end when the agent does.
const GOODBYE: Duration = Duration::from_secs(2);

/// A server that listens and does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    guard: auth::Guard,
    of_one_client: Option<usize>,
    socket: Option<OwnersSocket>,
}

/// What every route can reach.
#[derive(Debug, Clone)]
struct Shared {
    desk: Desk,
    guard: Arc<auth::Guard>,
    /// What broke, if a task ended without which the agent cannot be trusted.
    broken: watch::Receiver<Option<Notice>>,
    /// Looks at PINs.
    pins: Pins,
    /// The agent's key.
    key: keys::Current,
    /// The store's folder.
    folder: PathBuf,
}

/// What the server serves, and with what.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) desk: Desk,
    pub(crate) broken: watch::Receiver<Option<Notice>>,
    pub(crate) key: keys::Current,
    pub(crate) folder: PathBuf,
}

/// Listens where the configuration says.
///
/// # Errors
/// The port is taken, or the token cannot be read.
pub async fn bind(settings: &config::Http) -> Result<Server, Notice> {
    let guard = auth::Guard::from(settings)?;
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| taken(settings.listen, &error))?;
    let address = listener.local_addr().map_err(|error| taken(settings.listen, &error))?;
    Ok(Server { listener, address, guard, of_one_client: settings.connections_per_client, socket: None })
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens the owner's socket as well, where one is configured. Only once the store is this agent's: its folder is there
    /// then, and no other agent is at work in it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn with_socket(mut self, settings: &config::Http) -> Result<Self, Notice> {
        if let Some(path) = &settings.socket {
            match OwnersSocket::open(path, &settings.socket_users) {
                Ok(socket) => self.socket = Some(socket),
                // A disk that takes nothing is no reason not to look after machines.
                Err(NoSocket::NotNow(notice)) => tracing::error!(%notice, "no socket for the owner"),
                Err(NoSocket::Wrong(notice)) => return Err(notice),
            }
        }
        Ok(self)
    }

    /// Makes a claim code where nobody is an admin yet, and forgets an older one where somebody is.
    pub(crate) fn claimable(&self, folder: &std::path::Path, has_admin: bool) -> Option<String> {
        if has_admin {
            claim::Claim::close(folder);
            return None;
        }
        let made = self.guard.claim.open(folder);
        made.inspect_err(|notice| tracing::warn!(%notice, "no claim code")).ok()
    }

    /// Serves until told to stop.
    pub(crate) async fn serve(self, serving: Serving, mut stopped: watch::Receiver<bool>) {
        let Serving { desk, broken, key, folder } = serving;
        let shared = Shared { guard: Arc::new(self.guard), desk, broken, pins: Pins::default(), key, folder };
        // Machines and store have their files by now: what is left is for clients, but for some.
        let limits = Limits::with(descriptors::left(), self.of_one_client);
        let router = router(shared);
        let owners = self.socket.map(|socket| {
            // The owner gets in whatever happens at the other door.
            let limits = Limits::with(0, None);
            door::keep(stream::Listener::Socket(socket), router.clone(), limits, stopped.clone())
        });
        let network = door::keep(self.listener, router, limits, stopped.clone());
        let serve = async {
            match owners {
                Some(owners) => {
                    tokio::join!(network, owners);
                }
                None => network.await,
            }
        };
        let hurry = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
            tokio::time::sleep(GOODBYE).await;
        };
        tokio::select! {
            () = serve => {}
            // Event streams never end by themselves.
            () = hurry => {}
        }
    }
}

fn router(shared: Shared) -> Router {
    let people = Router::new()
        .route("/me", get(people::me))
        .route("/claim", post(people::claim))
        .route("/agent", get(people::agent))
        .route("/agent/key", post(people::new_key))
        .route("/members", get(people::list).post(people::add))
        .route("/members/{member}", get(people::one).patch(people::set).delete(people::remove))
        .route("/members/{member}/pin", put(people::set_pin).delete(people::remove_pin))
        .route("/tokens", get(people::tokens).post(people::make_token))
        .route("/tokens/{token}", delete(people::revoke))
        .layer(DefaultBodyLimit::max(people::BODY_BYTES_MAX));
    let api = Router::new()
        .route("/openapi.json", get(openapi::document))
        .route("/machines", get(machines::list))
        .route("/machines/{machine}", get(machines::one))
        .route("/machines/{machine}/capability", get(machines::capability))
        .route("/machines/{machine}/capacity", get(machines::capacity))
        .route("/machines/{machine}/stop", post(machines::stop))
        .route("/machines/{machine}/clear", post(machines::clear))
        .route("/machines/{machine}/out-of-service", post(machines::out_of_service).delete(machines::into_service))
        .route("/machines/{machine}/resume", post(by_hand::resume))
        .route("/machines/{machine}/home", post(by_hand::home))
        .route("/machines/{machine}/jog", post(by_hand::jog))
        .route("/machines/{machine}/probe", post(by_hand::probe))
        .route("/machines/{machine}/override", post(by_hand::change_override))
        .route("/machines/{machine}/answer", post(by_hand::answer))
        .route("/machines/{machine}/jobs", post(jobs::submit).layer(DefaultBodyLimit::disable()))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{job}", get(jobs::one).delete(jobs::delete))
        .route("/jobs/{job}/preview.svg", get(preview::svg))
        .route("/jobs/{job}/program", get(jobs::program))
        .route("/jobs/{job}/record", get(record::of_job))
        .route("/jobs/{job}/findings", get(jobs::findings))
        .route("/jobs/{job}/start", post(jobs::start))
        .route("/jobs/{job}/pause", post(jobs::pause))
        .route("/jobs/{job}/resume", post(jobs::resume))
        .route("/jobs/{job}/cancel", post(jobs::cancel))
        .route("/jobs/{job}/resume-after-failure", post(resume::after_failure))
        .route("/events", get(events::stream))
        .route("/log", get(events::list))
        .route("/log/people/{person}", delete(events::erase))
        .merge(people)
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method);
    Router::new()
        .nest("/api/v1", api)
        .route("/", get(page::index))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/control.js", get(page::control))
        .route("/page.svg", get(page::icon))
        .route("/healthz", get(machines::health))
        .route("/metrics", get(machines::metrics))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(shared.clone(), auth::check))
        .layer(middleware::from_fn(secure))
        .with_state(shared)
}

/// Headers that keep a browser from doing what the page never asks for.
async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-store"));
    response
}

async fn no_such_route() -> Response {
    let notice =
        Notice::new("http.no_such_route", "There is nothing at this address.", "", "See /api/v1/openapi.json.");
    Problem::new(StatusCode::NOT_FOUND, &notice).into_response()
}

async fn no_such_method() -> Response {
    let notice = Notice::new("http.method", "This address does not take that method.", "", "See /api/v1/openapi.json.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, &notice).into_response()
}

fn taken(listen: SocketAddr, error: &std::io::Error) -> Notice {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        return Notice::new(
            "http.port_busy",
            format!("Another program listens on {listen}."),
            "The agent did not start.",
            "Stop the other program, or choose another port (`--listen`, or `http.listen` in the configuration).",
        );
    }
    Notice::new(
        "http.cannot_listen",
        format!("The agent cannot listen on {listen}: {error}."),
        "The agent did not start.",
        "Choose an address of this computer and a port above 1023.",
    )
}
