//! Named, owned tasks: none is detached, a failed one stops the program with its name.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a panic may say: where, and words of the program's own. What a library makes of a text may hold it.
pub fn told(panic: &std::panic::PanicHookInfo<'_>) -> String {
    let place = panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let words = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("its words may hold a text");
    let thread = std::thread::current().name().unwrap_or("a thread").to_owned();
    format!("{thread} panicked{place}: {words}")
}

/// Tells every task to end.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits for the end, or for this long; `true` when it is time to end.
    pub async fn within(&mut self, pause: std::time::Duration) -> bool {
        let _ = tokio::time::timeout(pause, self.0.wait_for(|stop| *stop)).await;
        self.stopped()
    }

    pub async fn wait(&mut self) {
        // A closed channel is the end too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    pub fn stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<Result<()>>,
    stop: watch::Sender<bool>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { set: JoinSet::new(), stop: watch::channel(false).0 }
    }
}

impl Tasks {
    pub fn stop(&self) -> Stop {
        Stop(self.stop.subscribe())
    }

    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.set.spawn(async move { task.await.with_context(|| format!("task {name}")) });
    }

    /// A plain thread that is waited for like a task.
    pub fn thread(&mut self, name: String, work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
        let (done, finished) = tokio::sync::oneshot::channel();
        let label = name.clone();
        std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                // Nobody listens any more only when the program ends.
                let _ = done.send(work());
            })
            .context("start a thread")?;
        self.set.spawn(async move {
            finished
                .await
                .with_context(|| format!("thread {label} panicked"))?
                .with_context(|| format!("thread {label}"))
        });
        Ok(())
    }

    /// Runs until a signal or the first failure, then ends every task.
    pub async fn run_until(mut self, signal: impl Future<Output = ()>) -> Result<()> {
        tokio::pin!(signal);
        let mut outcome = Ok(());
        tokio::select! {
            () = &mut signal => {}
            Some(ended) = self.set.join_next() => outcome = ended.context("a task panicked").and_then(|result| result),
        }
        self.stop.send_replace(true);
        while let Some(ended) = self.set.join_next().await {
            let ended = ended.context("a task panicked").and_then(|result| result);
            if outcome.is_ok() {
                outcome = ended;
            }
        }
        outcome
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    tokio::select! {
        done = tokio::signal::ctrl_c() => done.context("listen for Ctrl-C")?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
