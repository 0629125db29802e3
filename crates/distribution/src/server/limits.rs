//! Rate limits: a bucket of requests for each user or address, filled at a steady rate.

use super::settings::RateLimit;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Buckets in memory; the full ones go first.
const MAX_BUCKETS: usize = 10_000;

pub(super) struct Limits {
    limit: RateLimit,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    requests: f64,
    filled: Instant,
}

impl Limits {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, buckets: Mutex::default() }
    }

    /// Takes `count` requests out of a bucket; the seconds to wait when there are not so many.
    pub(super) fn take(&self, who: &str, count: f64, now: Instant) -> Result<(), u64> {
        let (rate, burst) = (f64::from(self.limit.per_second), f64::from(self.limit.burst));
        let level = |bucket: &Bucket| {
            (bucket.requests + now.saturating_duration_since(bucket.filled).as_secs_f64() * rate).min(burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(who) {
            buckets.retain(|_, bucket| level(bucket) < burst);
            if buckets.len() >= MAX_BUCKETS {
                // Ten thousand at their limit: forgetting them is kinder than refusing everybody else.
                buckets.clear();
            }
        }
        let bucket = buckets.entry(who.to_owned()).or_insert_with(|| Bucket { requests: burst, filled: now });
        bucket.requests = level(bucket);
        bucket.filled = now;
        if bucket.requests >= 1.0 {
            bucket.requests -= count;
            return Ok(());
        }
        // At least a second: that is the header's unit. The numbers are small and positive.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
        Err(((1.0 - bucket.requests) / rate).ceil().max(1.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_the_rate() {
        let limits = Limits::new(RateLimit { per_second: 2, burst: 3 });
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limits.take("a", 1.0, start), Ok(()));
        }
        assert_eq!(limits.take("a", 1.0, start), Err(1));
        assert_eq!(limits.take("b", 1.0, start), Ok(()), "each for itself");
        let later = start + Duration::from_millis(500);
        assert_eq!(limits.take("a", 1.0, later), Ok(()));
        assert!(limits.take("a", 1.0, later).is_err());
        for n in 0..2 * MAX_BUCKETS {
            let _ = limits.take(&n.to_string(), 1.0, later);
        }
        assert!(limits.buckets.lock().unwrap().len() <= MAX_BUCKETS);
    }
}
