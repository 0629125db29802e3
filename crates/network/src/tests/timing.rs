//! How long the kernel takes; printed, never asserted: `cargo test -p wharf-network timing -- --ignored --nocapture`.

use super::fixture::{engine, netns, network, on_a_host};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use wharf_model::network::Network;
use wharf_model::network::conformance::{mapping, request};

const ROUNDS: u8 = 50;

#[test]
#[ignore = "prints times and checks nothing"]
fn timing() {
    on_a_host(|| {
        let engine = engine("wharf");
        let begin = Instant::now();
        network(&engine, 1, |_| {});
        println!("ensure      {:?}", begin.elapsed());
        let mut times: [Vec<Duration>; 5] = Default::default();
        for n in 0..ROUNDS {
            let netns = netns();
            let mut take = |index: usize, begin: Instant| times[index].push(begin.elapsed());
            let begin = Instant::now();
            let endpoint = engine.reserve(&request(1, n)).unwrap();
            take(0, begin);
            let begin = Instant::now();
            engine.connect(&endpoint, netns.as_fd()).unwrap();
            take(1, begin);
            let begin = Instant::now();
            let published = engine.publish(&endpoint, &[mapping(80, None)]).unwrap();
            take(2, begin);
            let begin = Instant::now();
            engine.unpublish(&endpoint, &published).unwrap();
            take(3, begin);
            let begin = Instant::now();
            engine.disconnect(&endpoint).unwrap();
            take(4, begin);
        }
        for (name, mut times) in
            ["reserve", "connect", "publish", "unpublish", "disconnect"].into_iter().zip(times)
        {
            times.sort();
            println!("{name:<11} median {:?}  worst {:?}", times[times.len() / 2], times[times.len() - 1]);
        }
        engine.teardown().unwrap();
    });
}
