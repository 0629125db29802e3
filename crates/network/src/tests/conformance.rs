//! The seam's own suite on the kernel.

use super::fixture::{engine, leftovers, netns, on_a_host};
use wharf_model::network::{Network, conformance};

#[test]
fn the_kernel_conforms() {
    on_a_host(|| {
        conformance::run(&|| Box::new(engine("wharf-test")) as Box<dyn Network>, &netns);
        assert_eq!(leftovers("wharf-test"), (vec![], false));
    });
}
