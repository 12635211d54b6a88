//! Who owns each task: what becomes of the agent when one of them ends by a fault.
//!
//! A *vital* task is one without which the agent only looks alive: its end makes the machines safe and ends the process,
//! and whoever supervises it starts another. Any other is begun anew, and that is told.

use std::future::Future;
use std::time::{Duration, Instant};

use drivers::Notice;
use drivers::repeats::Repeats;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use crate::store::{Class, Fact, Store};

/// Pauses before a task is begun anew: one that fails at once must not take a core, and one that fails again and again
/// must not fill the log. A task that held for so long as the longest begins with the shortest again.
const ANEW_FIRST: Duration = Duration::from_secs(1);
const ANEW_LAST: Duration = Duration::from_secs(60);

/// The same fault is told this often.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// The owner of the agent's tasks.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    broken: watch::Sender<Option<Notice>>,
    stopped: watch::Receiver<bool>,
    store: Store,
}

impl Owner {
    /// An owner of tasks that end when `stopped` says so.
    pub(crate) fn new(store: Store, stopped: watch::Receiver<bool>) -> Self {
        Self { broken: watch::Sender::new(None), stopped, store }
    }

    /// What broke, if a vital task ended by itself.
    pub(crate) fn broken(&self) -> watch::Receiver<Option<Notice>> {
        self.broken.subscribe()
    }

    /// Runs a task without which the agent is none.
    pub(crate) fn vital(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let owner = self.clone();
        tokio::spawn(async move {
            let ended = tokio::spawn(work).await;
            if *owner.stopped.borrow() {
                return;
            }
            let notice = fault(name, ended.err(), "The machines are made safe, and the agent ends.");
            tracing::error!(%notice, "a task that matters");
            owner.tell(&notice);
            owner.broken.send_replace(Some(notice));
        })
    }

    /// Runs a task that is begun anew, by `make`, when a fault ends it. It is over when it ends by itself.
    pub(crate) fn anew<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        mut make: impl FnMut() -> F + Send + 'static,
    ) -> JoinHandle<()> {
        let owner = self.clone();
        tokio::spawn(async move {
            let (mut faults, mut wait) = (Repeats::new(TOLD_AGAIN_AFTER), ANEW_FIRST);
            loop {
                let begun = Instant::now();
                let Err(error) = tokio::spawn(make()).await else { return };
                let notice = fault(name, Some(error), "It was begun anew.");
                if let Some(repeated) = faults.say(&notice.happened, Instant::now()) {
                    tracing::error!(repeated = repeated.0, %notice, "a task");
                    owner.tell(&notice);
                }
                if begun.elapsed() >= ANEW_LAST {
                    wait = ANEW_FIRST;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(ANEW_LAST);
            }
        })
    }

    fn tell(&self, notice: &Notice) {
        self.store.tell([Fact::new(Class::Agent, json!({ "type": "trouble", "notice": notice }))], []);
    }
}

fn fault(name: &str, error: Option<JoinError>, done: &str) -> Notice {
    let why = match error.map(JoinError::try_into_panic) {
        Some(Ok(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".to_owned())
        }
        Some(Err(error)) => error.to_string(),
        None => "it ended".to_owned(),
    };
    let to_do = "Report this with the agent's log.";
    Notice::new("agent.fault", format!("A fault in the agent ended its task `{name}`: {why}."), done, to_do)
}

#[cfg(test)]
mod test {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::config;

    async fn owner(home: &std::path::Path) -> (Owner, watch::Sender<bool>) {
        let (store, _news) = Store::open(&config::Store::at(home)).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        (Owner::new(store, stopped), stop)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_of_a_task_that_matters_left_an_agent_that_only_looked_alive() {
        let home = tempfile::tempdir().unwrap();
        let (owner, stop) = owner(home.path()).await;
        let mut broken = owner.broken();
        owner.vital("clerk", async { panic!("no entry found for key") });
        let notice = broken.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert!(notice.happened.contains("`clerk`") && notice.happened.contains("no entry found for key"), "{notice}");
        drop(stop);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_task_that_can_be_begun_anew_is() {
        let home = tempfile::tempdir().unwrap();
        let (owner, _stop) = owner(home.path()).await;
        let times = Arc::new(AtomicU32::new(0));
        let counted = times.clone();
        let task = owner.anew("sink", move || {
            let time = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(time > 0, "the first time it fails") }
        });
        task.await.unwrap();
        assert_eq!((times.load(Ordering::SeqCst), owner.broken().borrow().clone()), (2, None));
    }
}
