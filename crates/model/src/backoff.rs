//! The pause before a restart: it doubles, and begins anew after a good run.

use std::time::{Duration, Instant};

/// The first pause; it doubles up to [`LONGEST`], as Docker's.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// A run that lasted this long counts as good.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// Measures runs by the clock that nobody sets: a jump of the host's time neither makes a bad run good nor a good one bad.
#[derive(Debug, Clone)]
pub struct Backoff {
    pause: Duration,
    began: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: FIRST, began: None }
    }
}

impl Backoff {
    /// A run begins, or was found when the engine started.
    pub fn began(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// A run, or the attempt at one, has ended. Returns when the next may begin.
    pub fn ended(&mut self, now: Instant) -> Instant {
        let lasted = self.began.take().map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        if lasted >= GOOD_RUN {
            self.pause = FIRST;
        }
        let next = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_a_good_run_ends_that() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        let mut pause = |lasted: Option<u64>| {
            if let Some(seconds) = lasted {
                backoff.began(start);
                let end = start + Duration::from_secs(seconds);
                backoff.ended(end) - end
            } else {
                backoff.ended(start) - start
            }
        };
        let pauses: Vec<u128> = [Some(0), Some(9), None, Some(3)].map(|l| pause(l).as_millis()).to_vec();
        assert_eq!(pauses, [100, 200, 400, 800]);
        assert_eq!(pause(Some(10)).as_millis(), 100);
        let last = (0..20).map(|_| pause(None)).last();
        assert_eq!(last, Some(LONGEST));
    }
}
