//! A progress bar on stderr for what takes longer than a second, seen only where a person looks at it.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// Nothing is shown before this.
const DELAY: Duration = Duration::from_secs(1);

/// One bar that goes through several phases.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    interactive: bool,
    phase: String,
}

impl Progress {
    pub(crate) fn new(output: Output) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { bar, started: Instant::now(), interactive: output.interactive(), phase: String::new() }
    }

    /// Shows how far `phase` is; `of` where its end is known. `note` is what else to say, such as a rate.
    pub(crate) fn update(&mut self, phase: &str, done: u64, of: Option<u64>, note: &str) {
        if !self.interactive {
            return;
        }
        if self.bar.is_hidden() && self.started.elapsed() >= DELAY {
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        if self.phase != phase {
            self.phase = phase.to_owned();
            self.bar.reset();
            let template = match of {
                Some(_) => "{spinner} {prefix} [{bar:30}] {percent}% {msg}",
                None => "{spinner} {prefix} {human_pos} {msg}",
            };
            // The templates are right, so the default is never taken.
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar.set_style(style.progress_chars("━╸─"));
            self.bar.set_prefix(phase.to_owned());
        }
        if let Some(of) = of {
            self.bar.set_length(of);
        }
        self.bar.set_position(done);
        self.bar.set_message(note.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
