//! Over fakes and a real registry on a real socket. Layers on a disk have tests of their own in `wharf-storage`.

use super::*;
use crate::images::tests::{Engine, engine, name, quiet, registry};
use std::io::Write;
use std::sync::Mutex;
use wharf_model::blobs::Blobs;

/// Puts other content in the place of a blob.
fn spoil(engine: &Engine, digest: &Digest) {
    let mut other = tempfile::tempfile().unwrap();
    other.write_all(b"something else").unwrap();
    engine.blobs.adopt(digest, &other).unwrap();
}

async fn check(engine: &Engine, names: &[&str], repair: bool) -> (Checked, Vec<Finding>) {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let log_in: LogIn = Arc::new(|_| Credentials::Anonymous);
    let found = Mutex::new(Vec::new());
    let tell = |finding| found.lock().unwrap().push(finding);
    let checked = engine.images.check(&names, repair.then_some(log_in), tell).await.unwrap();
    (checked, found.into_inner().unwrap())
}

#[tokio::test]
async fn what_a_registry_has_is_fetched_again() {
    let (here, registry) = (engine(), registry().await);
    let target = format!("{}/app:1", registry.address);
    here.import(&target, &[("a", "1")]).await;
    let anonymous = || Credentials::Anonymous;
    here.images.push(&name(&target), anonymous(), quiet()).await.unwrap();
    let there = engine();
    let image = there.images.pull(&name(&target), None, anonymous(), quiet()).await.unwrap();
    let (checked, found) = check(&there, &[], false).await;
    assert_eq!((checked.images, checked.objects, checked.damaged), (1, 4, 0), "{found:?}");
    for digest in image.blobs() {
        spoil(&there, digest);
    }
    let (checked, found) = check(&there, &[], false).await;
    assert_eq!((checked.damaged, checked.mended), (3, 0));
    assert!(found.iter().all(|f| f.state == State::Damaged && f.image == target), "{found:?}");
    let (checked, found) = check(&there, &[&target], true).await;
    assert_eq!((checked.damaged, checked.mended), (3, 3), "{found:?}");
    there.blobs.remove(&image.layers[0].blob.digest).unwrap();
    let (checked, found) = check(&there, &[], true).await;
    assert_eq!((checked.damaged, checked.mended), (1, 1), "{found:?}");
    assert_eq!(found[0].damage, "it is gone");
    assert_eq!(check(&there, &[], false).await.0.damaged, 0);
    there.images.remove(&target, false, &|_| None).unwrap();
    assert!(there.is_empty(), "nothing is held any more");
    registry.stop().await;
}

#[tokio::test]
async fn what_nobody_has_is_said_to_be_lost() {
    let here = engine();
    let image = here.import("mine", &[("a", "1")]).await;
    spoil(&here, &image.layers[0].blob.digest);
    let (checked, found) = check(&here, &["mine"], true).await;
    assert_eq!((checked.damaged, checked.mended), (1, 0));
    assert!(matches!(&found[0].state, State::Lost(why) if why.contains("never pushed")), "{found:?}");
    let unknown = here.images.check(&["other".to_owned()], None, |_| {}).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_plain_blob_comes_back_from_what_was_pushed() {
    let (here, registry) = (engine(), registry().await);
    let target = format!("{}/app:1", registry.address);
    let image = here.import(&target, &[("a", "1")]).await;
    here.images.push(&name(&target), Credentials::Anonymous, quiet()).await.unwrap();
    spoil(&here, &image.layers[0].blob.digest);
    let (checked, found) = check(&here, &[], true).await;
    assert_eq!((checked.damaged, checked.mended), (1, 1), "{found:?}");
    registry.stop().await;
    spoil(&here, &image.layers[0].blob.digest);
    let (_, found) = check(&here, &[], true).await;
    assert!(matches!(&found[0].state, State::Lost(why) if why.contains("fetch it again")), "{found:?}");
}

#[tokio::test]
async fn an_image_that_is_removed_meanwhile_lacks_nothing() {
    let here = engine();
    let image = here.import("mine", &[("a", "1")]).await;
    here.images.remove("mine", false, &|_| None).unwrap();
    let mut seen = Seen::default();
    let tell = |finding: Finding| panic!("{finding:?}");
    here.images.check_image(&mut seen, &image, None, &tell).await.unwrap();
    assert_eq!(seen.total, Checked::default());
    assert!(here.images.leases.lock().unwrap().is_empty(), "nothing is held any more");
}

#[tokio::test]
async fn an_image_that_is_removed_while_it_is_mended_has_lost_nothing() {
    let (here, registry) = (engine(), registry().await);
    let target = format!("{}/app:1", registry.address);
    here.import(&target, &[("a", "1")]).await;
    here.images.push(&name(&target), Credentials::Anonymous, quiet()).await.unwrap();
    let there = engine();
    let image = there.images.pull(&name(&target), None, Credentials::Anonymous, quiet()).await.unwrap();
    image.blobs().for_each(|digest| spoil(&there, digest));
    // The first thing is mended, as it was known then where from; it is removed while that is asked.
    let (images, named) = (there.images.clone(), target.clone());
    let log_in: LogIn = Arc::new(move |_| {
        images.remove(&named, false, &|_| None).unwrap();
        Credentials::Anonymous
    });
    let found = Mutex::new(Vec::new());
    let tell = |finding| found.lock().unwrap().push(finding);
    let checked = there.images.check(&[target], Some(log_in), tell).await.unwrap();
    let found = found.into_inner().unwrap();
    assert_eq!((checked.damaged, checked.mended), (1, 1), "{found:?}");
    assert!(there.is_empty(), "nothing is held any more");
    registry.stop().await;
}
