//! Links: how bytes reach a machine. Each kind is a file and a line in the table.

mod modbus;
mod serial;
mod tcp;
mod terminal;

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::notice::Notice;

/// Every kind of link, the most particular first. A new one is a file and a line here.
static ALL: &[&dyn Link] = &[&modbus::Registers, &tcp::Tcp, &serial::Serial];

/// An open link: bytes in both directions. Reading zero bytes means that the other end is gone.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// What opening a link gave.
pub struct Opened {
    /// The bytes.
    pub wire: Box<dyn Wire>,
    /// Whether opening may have reset the board: then a banner comes first.
    pub may_reset: bool,
}

/// What a link is opened with.
#[derive(Debug, Clone)]
pub struct Address {
    /// A device path or an URL, as written in the configuration.
    pub port: String,
    /// Bits per second, where that means something.
    pub baud: u32,
    /// How registers are reached, where the profile says so.
    pub modbus: Option<crate::modbus::Modbus>,
}

/// A future of a link. Boxed, because links are chosen at run time.
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Opened, Notice>> + Send + 'a>>;

/// One kind of link.
pub trait Link: Sync {
    /// Whether this kind of link serves the address.
    fn serves(&self, port: &str) -> bool;

    /// Whether it is a line with a rate of its own.
    fn has_rate(&self) -> bool {
        false
    }

    /// Opens it. Errors say what happened, what was done and what to do.
    fn open<'a>(&'a self, address: &'a Address) -> Opening<'a>;
}

/// Opens whatever link serves the address.
///
/// # Errors
/// A notice with one of the codes `link.no_such_port`, `link.busy`, `link.no_permission`, `link.not_a_port`,
/// `link.unreachable`, `link.failed`.
pub async fn open(address: &Address) -> Result<Opened, Notice> {
    for link in ALL {
        if link.serves(&address.port) {
            return link.open(address).await;
        }
    }
    Err(Notice::new(
        "link.unknown",
        format!("`{}` is no kind of port the agent knows.", address.port),
        "Nothing was opened.",
        "Give a device path such as /dev/serial/by-path/…, tcp://host:port, modbus-tcp://host:port or modbus-rtu:/dev/….",
    ))
}

/// Whether an address is that of a serial line, which has a rate.
pub fn has_rate(port: &str) -> bool {
    ALL.iter().find(|link| link.serves(port)).is_some_and(|link| link.has_rate())
}

/// Opens a serial line whose rate is not known: asks `question` at one rate after the other, until something that a
/// known firmware says comes back. The line is opened once, because opening resets many boards.
///
/// # Errors
/// As [`open`], or `link.no_baud`.
pub async fn open_at_any(address: &Address, bauds: &[u32], question: &str) -> Result<(Opened, u32), Notice> {
    serial::open_at_any(&address.port, bauds, question).await
}

/// The name under which a port is found again when it is plugged in anew, if it has one and is not called by it.
pub fn lasting_name(port: &str) -> Option<String> {
    serial::lasting_name(Path::new(port), Path::new("/dev/serial/by-path"))
}

/// The notice for an operating system's error on opening.
fn refused(port: &str, error: &io::Error) -> Notice {
    let done = "Nothing was sent.";
    match error.kind() {
        io::ErrorKind::NotFound => Notice::new(
            "link.no_such_port",
            format!("There is no port {port}."),
            done,
            "Check the cable and the machine's power; `fab-agent ports` lists the ports there are.",
        ),
        io::ErrorKind::PermissionDenied => Notice::new(
            "link.no_permission",
            format!("The port {port} may not be opened by this user."),
            done,
            "Add the user to the group `dialout` and log in again.",
        ),
        io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => Notice::new(
            "link.busy",
            format!("The port {port} is in use by another program."),
            done,
            "Close the other program (OctoPrint, a sender, a terminal), then try again.",
        ),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => Notice::new(
            "link.unreachable",
            format!("{port} cannot be reached: {error}."),
            done,
            "Check the machine's power, its network and the address.",
        ),
        _ => Notice::new(
            "link.failed",
            format!("The port {port} could not be opened: {error}."),
            done,
            "Check the port.",
        ),
    }
}

/// The notice for a link that was lost while it was open.
pub(crate) fn lost(port: &str, error: Option<&io::Error>) -> Notice {
    let why = error.map_or_else(|| "the other end is gone".to_owned(), ToString::to_string);
    Notice::new(
        "link.lost",
        format!("The connection to the machine on {port} was lost: {why}."),
        "What the machine had received may still run; nothing more was sent.",
        "Check the cable and the machine's power; look at the work before the next job.",
    )
}
