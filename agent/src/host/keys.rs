//! A person's word at the terminal.

use std::io::IsTerminal as _;

use tokio::sync::mpsc;

/// The Enter key, where a person sits at a terminal.
pub(crate) struct Keys(Option<mpsc::Receiver<()>>);

impl Keys {
    pub(crate) fn listen() -> Self {
        if !std::io::stdin().is_terminal() {
            return Self(None);
        }
        let (told, hears) = mpsc::channel(1);
        // It ends with the program: a read of the terminal cannot be called off.
        let reader = std::thread::Builder::new().name("keys".into()).spawn(move || {
            let mut line = String::new();
            while matches!(std::io::stdin().read_line(&mut line), Ok(1..)) && told.blocking_send(()).is_ok() {
                line.clear();
            }
        });
        Self(reader.ok().map(|_| hears))
    }

    pub(crate) fn are_here(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until Enter is pressed; for ever where nobody can.
    pub(crate) async fn next(&mut self) {
        let Some(keys) = &mut self.0 else { return std::future::pending().await };
        if keys.recv().await.is_none() {
            // The terminal was closed.
            self.0 = None;
        }
    }
}
