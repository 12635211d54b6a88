//! Between two conversations: the link is opened, waited for and opened again, and whoever asks meanwhile is answered.

use std::future::Future;
use std::time::Duration;

use super::{PUBLISH_EVERY, Shell};
use crate::link::{self, Address, Opened};
use crate::machine::Baud;
use crate::notice::Notice;
use crate::probe::BAUDS;
use crate::request::Denied;

impl Shell {
    /// Opens the link: where the configuration says, or by the name under which the same socket was found before.
    fn opening(&self) -> impl Future<Output = (Result<Opened, Notice>, u32, String)> + 'static {
        let (mut address, fixed) = (self.address.clone(), self.setup.port.clone());
        let question = self.session.question();
        let profile = self.setup.profile.serial.baud;
        let rates = match self.setup.baud {
            Baud::Detect { first } if link::has_rate(&address.port) => rates(self.baud_found.or(first), profile),
            Baud::Fixed(baud) => {
                address.baud = baud;
                Vec::new()
            }
            Baud::Detect { .. } | Baud::Profile => Vec::new(),
        };
        async move {
            let mut opened = open(&mut address, &rates, question).await;
            let gone = matches!(&opened, Err(notice) if notice.code == "link.no_such_port");
            if gone && address.port != fixed {
                address.port = fixed;
                opened = open(&mut address, &rates, question).await;
            }
            (opened, address.baud, address.port)
        }
    }

    /// Opens the link. Nothing when there is nobody left to serve.
    pub(super) async fn connect(&mut self) -> Option<Result<Opened, Notice>> {
        let opening = self.opening();
        let (opened, baud, port) = self.meanwhile(opening).await?;
        if opened.is_ok() {
            self.address.port = link::lasting_name(&port).unwrap_or(port);
            self.address.baud = baud;
            self.baud_found = Some(baud);
        }
        Some(opened)
    }

    /// Waits before the next attempt. False when there is nobody left to serve.
    pub(super) async fn rest(&mut self, wait: Duration) -> bool {
        // A one-shot conversation is not opened again, and says so to all who ask.
        let reconnect = self.setup.reconnect;
        let until = async move {
            if reconnect {
                tokio::time::sleep(wait).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        self.meanwhile(until).await.is_some()
    }

    /// Answers whoever asks while there is no conversation, until something else is done. Nothing when there is nobody
    /// left to serve.
    async fn meanwhile<T>(&mut self, until: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(until);
        loop {
            tokio::select! {
                done = &mut until => return Some(done),
                stop = self.stops.recv() => match stop {
                    Some(answer) => { let _ = answer.send(Err(self.stop_without_link())); }
                    None => return None,
                },
                order = self.orders.recv() => match order {
                    Some(order) => { let _ = order.answer.send(Err(Denied::Offline)); }
                    None => return None,
                },
                Some(give) = self.copies.recv() => {
                    let now = self.now();
                    let _ = give.send(self.recording(now, None));
                }
                // What is beside the machine has links of its own, and is told of all the same.
                () = tokio::time::sleep(PUBLISH_EVERY), if self.beside.is_some() => {
                    let now = self.now();
                    self.heed_devices(now);
                    self.tell(now, false);
                }
            }
        }
    }

    /// A stop while there is no conversation: the machine cannot be told, and the drives beside it are.
    fn stop_without_link(&self) -> Denied {
        self.stop_drives();
        let drives = self.beside.as_ref().is_some_and(|beside| beside.drives().is_some());
        if drives { Denied::OfflineDrivesTold } else { Denied::Offline }
    }
}

/// Opens a link, at the rate of the address or at one of those that are tried, which the address has then.
async fn open(address: &mut Address, rates: &[u32], question: &'static str) -> Result<Opened, Notice> {
    if rates.is_empty() {
        return link::open(address).await;
    }
    let (opened, baud) = link::open_at_any(address, rates, question).await?;
    address.baud = baud;
    Ok(opened)
}

/// Rates to try: where the machine was found last, what its profile says, then the usual ones.
fn rates(first: Option<u32>, profile: u32) -> Vec<u32> {
    let mut rates = Vec::new();
    for rate in first.into_iter().chain([profile]).chain(BAUDS) {
        if !rates.contains(&rate) {
            rates.push(rate);
        }
    }
    rates
}
