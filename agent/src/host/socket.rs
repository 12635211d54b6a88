//! The agent's socket: whoever reaches it as a user who may is the owner. No password, no port, no proxy.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use drivers::Notice;
use nix::unistd::{User, geteuid};
use tokio::net::{UnixListener, UnixStream};

/// Why there is no socket.
#[derive(Debug)]
pub(crate) enum NoSocket {
    /// Its folder takes none now: a disk that is full or read-only. The agent does without.
    NotNow(Notice),
    /// Something else is there, or a user is not known: that is to be put right first.
    Wrong(Notice),
}

/// The socket, open. Its file goes with it.
#[derive(Debug)]
pub(crate) struct OwnersSocket {
    listener: UnixListener,
    path: PathBuf,
    users: Vec<u32>,
}

impl OwnersSocket {
    /// Opens it. A socket that an agent which died left there is replaced; anything else in its place is not touched.
    ///
    /// # Errors
    /// Something else stands there, the path is too long, a user is not known, or the folder takes no socket.
    pub(crate) fn open(path: &Path, users: &[String]) -> Result<Self, NoSocket> {
        let users = users.iter().map(|user| number(user)).collect::<Result<Vec<_>, _>>()?;
        make_room(path)?;
        let listener = UnixListener::bind(path).map_err(|error| unusable(path, &error))?;
        // Between the two lines above and below the system's own mask holds; who may is asked of the kernel at each
        // connection in any case.
        let mode = if users.is_empty() { 0o600 } else { 0o666 };
        let opened = Self { listener, path: path.to_owned(), users };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .map_err(|error| unusable(path, &error))?;
        Ok(opened)
    }

    /// The next who comes, and which user that is by the kernel's word.
    pub(crate) async fn accept(&self) -> io::Result<(UnixStream, u32)> {
        let (stream, _) = self.listener.accept().await?;
        let uid = stream.peer_cred()?.uid();
        Ok((stream, uid))
    }

    /// Whether a user is the owner here.
    pub(crate) fn admits(&self, uid: u32) -> bool {
        uid == 0 || uid == geteuid().as_raw() || self.users.contains(&uid)
    }
}

impl Drop for OwnersSocket {
    fn drop(&mut self) {
        // One that stays is replaced by the next agent.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes the socket of an agent that is gone.
fn make_room(path: &Path) -> Result<(), NoSocket> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unusable(path, &error)),
        Ok(found) => found,
    };
    if !found.file_type().is_socket() {
        // A link could lead to a file of somebody else's: nothing is followed and nothing removed.
        return Err(NoSocket::Wrong(strange(path)));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(NoSocket::Wrong(Notice::new(
            "socket.in_use",
            format!("Another program listens on the socket {}.", path.display()),
            "The agent did not start.",
            "Stop the other agent, or give this one a socket of its own (`http.socket`).",
        ))),
        Err(_) => std::fs::remove_file(path).map_err(|error| unusable(path, &error)),
    }
}

fn number(user: &str) -> Result<u32, NoSocket> {
    if let Ok(uid) = user.parse() {
        return Ok(uid);
    }
    let found = User::from_name(user).ok().flatten();
    found.map(|user| user.uid.as_raw()).ok_or_else(|| {
        NoSocket::Wrong(Notice::new(
            "socket.no_such_user",
            format!("`http.socket_users` names `{user}`, and the system knows no such user."),
            "The agent did not start.",
            "Correct the name, or write the user's number.",
        ))
    })
}

fn strange(path: &Path) -> Notice {
    Notice::new(
        "socket.strange",
        format!("Something that is no socket stands at {}.", path.display()),
        "It was not touched, and the agent did not start.",
        "Find out who put it there; remove it, or choose another place (`http.socket`).",
    )
}

fn unusable(path: &Path, error: &io::Error) -> NoSocket {
    NoSocket::NotNow(Notice::new(
        "socket.failed",
        format!("The socket {} cannot be opened: {error}.", path.display()),
        "The agent does without: its owner needs a token meanwhile.",
        "Choose a folder that the agent may write to, and a path of at most 100 characters (`http.socket`).",
    ))
}

#[cfg(test)]
mod test {
    use super::*;

    fn code(opened: Result<OwnersSocket, NoSocket>) -> String {
        match opened.unwrap_err() {
            NoSocket::NotNow(notice) | NoSocket::Wrong(notice) => notice.code,
        }
    }

    #[tokio::test]
    async fn a_socket_is_the_owners_alone_and_goes_with_the_agent() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("agent.sock");
        let socket = OwnersSocket::open(&path, &[]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let uid = geteuid().as_raw();
        assert!(socket.admits(uid) && socket.admits(0) && !socket.admits(uid + 4321));
        let _client = UnixStream::connect(&path).await.unwrap();
        assert_eq!(socket.accept().await.unwrap().1, uid);
        assert_eq!(code(OwnersSocket::open(&path, &[])), "socket.in_use");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_dead_agent_left_is_replaced_and_a_link_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        drop(std::os::unix::net::UnixListener::bind(at("dead.sock")).unwrap());
        assert!(at("dead.sock").exists());
        OwnersSocket::open(&at("dead.sock"), &[]).unwrap();
        std::fs::write(at("precious"), "mine").unwrap();
        std::os::unix::fs::symlink(at("precious"), at("link.sock")).unwrap();
        let live = std::os::unix::net::UnixListener::bind(at("live.sock")).unwrap();
        std::os::unix::fs::symlink(at("live.sock"), at("other.sock")).unwrap();
        for name in ["precious", "link.sock", "other.sock"] {
            assert_eq!(code(OwnersSocket::open(&at(name), &[])), "socket.strange", "{name}");
        }
        assert_eq!(std::fs::read(at("precious")).unwrap(), b"mine");
        drop(live);
        assert_eq!(code(OwnersSocket::open(&at("x".repeat(200).as_str()), &[])), "socket.failed");
        let nobody = OwnersSocket::open(&at("a.sock"), &["no-such-user".to_owned()]);
        assert_eq!(code(nobody), "socket.no_such_user");
    }
}
