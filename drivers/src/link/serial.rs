//! The serial link: any device path, any baud rate, opened for this program alone.

use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::fcntl::OFlag;
use nix::sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr};
use serialport::SerialPort;
use tokio_serial::SerialStream;

use super::{Address, Link, Opened, Opening, refused};
use crate::notice::Notice;

/// The serial link.
pub(super) struct Serial;

impl Link for Serial {
    fn serves(&self, port: &str) -> bool {
        !port.contains("://")
    }

    fn open<'a>(&'a self, address: &'a Address) -> Opening<'a> {
        Box::pin(async move { open(address) })
    }
}

fn open(address: &Address) -> Result<Opened, Notice> {
    let port = &address.port;
    let metadata = std::fs::metadata(port).map_err(|error| refused(port, &error))?;
    if !metadata.file_type().is_char_device() {
        return Err(Notice::new(
            "link.not_a_port",
            format!("{port} is no serial port."),
            "Nothing was opened.",
            "`fab-agent ports` lists the ports there are.",
        ));
    }
    keep_dtr_on_close(port).map_err(|error| refused(port, &error))?;
    // The builder's defaults: 8 data bits, no parity, 1 stop bit, no flow control, exclusive (TIOCEXCL and flock).
    let builder = serialport::new(port, address.baud);
    let mut stream = SerialStream::open(&builder).map_err(|error| refused(port, &os_error(error)))?;
    // A pseudo-terminal has no modem lines, and so no board behind it that DTR could reset.
    let may_reset = stream.read_data_set_ready().is_ok();
    Ok(Opened { wire: Box::new(stream), may_reset })
}

/// Tells the driver to leave DTR alone when the port is closed. Boards that are reset by DTR are then reset by the
/// first opening only, and not by every one: the kernel raises DTR on opening whatever is asked, but a line that is
/// up already does not move.
fn keep_dtr_on_close(port: &str) -> io::Result<()> {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .custom_flags((OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits())
        .open(port)?;
    let mut settings = tcgetattr(&file)?;
    settings.control_flags.remove(ControlFlags::HUPCL);
    tcsetattr(&file, SetArg::TCSANOW, &settings)?;
    Ok(())
}

/// The operating system's error behind the library's.
fn os_error(error: serialport::Error) -> io::Error {
    match error.kind() {
        serialport::ErrorKind::NoDevice if error.description.to_lowercase().contains("busy") => {
            io::Error::from(io::ErrorKind::ResourceBusy)
        }
        serialport::ErrorKind::NoDevice if error.description.to_lowercase().contains("lock") => {
            io::Error::from(io::ErrorKind::ResourceBusy)
        }
        serialport::ErrorKind::Io(kind) => io::Error::new(kind, error.description),
        _ => io::Error::other(error.description),
    }
}
