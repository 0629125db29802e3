//! What there is of a cache besides images: the directories of `RUN --mount=type=cache`, and those of clients as they last came.
//!
//! Images of steps are images, which `docker image prune` is about.

use crate::BuildKit;
use crate::error::status;
use crate::kept::{Directory, Kept};
use wharf_build::caches::{Caches, Listed};
use wharf_engine::clock;
use wharf_grpc::Status;
use wharf_grpc::proto::control::{DiskUsageRequest, DiskUsageResponse, PruneRequest, UsageRecord};
use wharf_grpc::proto::ops::Timestamp;
use wharf_grpc::server::Reply;
use wharf_model::Result;

/// BuildKit's names for such directories.
const KIND: &str = "exec.cachemount";
const LOCAL: &str = "source.local";

impl BuildKit {
    pub(crate) async fn disk_usage(&self, request: DiskUsageRequest) -> Result<DiskUsageResponse, Status> {
        let filters = Filter::all(&request.filter)?;
        let caches = self.builder.caches.clone();
        let listed = blocking(move || caches.list()).await?;
        let all = self.kept.list().into_iter().map(local).chain(listed.into_iter().map(record));
        let record = all.filter(|r| filters.iter().all(|f| f.takes(r))).collect();
        Ok(DiskUsageResponse { record })
    }

    pub(crate) async fn prune(&self, request: PruneRequest) -> Result<Reply, Status> {
        let filters = Filter::all(&request.filter)?;
        let (caches, kept) = (self.builder.caches.clone(), self.kept.clone());
        let removed = blocking(move || remove(&caches, &kept, &filters, &request)).await?;
        let (answers, reply) = Reply::many();
        tokio::spawn(async move {
            for record in removed {
                answers.send(&record).await;
            }
        });
        Ok(reply)
    }
}

/// Those of clients, which only cost time; then the longest unused first, until as much is left as may stay.
fn remove(
    caches: &Caches,
    kept: &Kept,
    filters: &[Filter],
    request: &PruneRequest,
) -> Result<Vec<UsageRecord>> {
    let (locals, listed) = (kept.list(), caches.list()?);
    let sizes = locals.iter().map(|known| known.size).chain(listed.iter().map(|c| c.size));
    let mut left: u64 = sizes.sum();
    let may_stay = u64::try_from(request.reserved_space).unwrap_or_default();
    let until = clock::now_ns() - i128::from(request.keep_duration);
    let locals = locals.into_iter().map(|known| (known.used_ns, local(known)));
    let listed = listed.into_iter().map(|cache| (cache.about.used_ns, record(cache)));
    let mut removed = Vec::new();
    for (used, record) in locals.chain(listed) {
        if may_stay > 0 && left <= may_stay {
            break;
        }
        if used > until || !filters.iter().all(|filter| filter.takes(&record)) {
            continue;
        }
        let is_gone =
            if record.record_type == LOCAL { kept.remove(&record.id) } else { caches.remove(&record.id)? };
        if is_gone {
            left = left.saturating_sub(record.size.cast_unsigned());
            removed.push(record);
        }
    }
    Ok(removed)
}

fn local(known: Directory) -> UsageRecord {
    UsageRecord {
        description: format!("local source for {}", known.name),
        id: known.id,
        mutable: true,
        size: known.size.cast_signed(),
        created_at: Some(Timestamp::of_ns(known.created_ns)),
        last_used_at: Some(Timestamp::of_ns(known.used_ns)),
        usage_count: known.uses.cast_signed(),
        record_type: LOCAL.to_owned(),
        ..UsageRecord::default()
    }
}

fn record(listed: Listed) -> UsageRecord {
    UsageRecord {
        description: format!("cached mount {}", listed.about.name),
        id: listed.id,
        mutable: true,
        in_use: listed.in_use,
        size: listed.size.cast_signed(),
        created_at: Some(Timestamp::of_ns(listed.about.created_ns)),
        last_used_at: Some(Timestamp::of_ns(listed.about.used_ns)),
        usage_count: listed.about.uses.cast_signed(),
        record_type: KIND.to_owned(),
        shared: false,
    }
}

/// One of `docker buildx du --filter`.
#[derive(Debug)]
enum Filter {
    Id(String),
    Kind(String),
    InUse,
    Mutable,
    Description(String),
    /// What no such directory is.
    Nothing,
}

impl Filter {
    fn all(texts: &[String]) -> Result<Vec<Self>, Status> {
        // Clients send an empty one for none.
        texts.iter().filter(|text| !text.is_empty()).map(|text| Self::parse(text)).collect()
    }

    /// containerd's words: `name==value`, `name~=pattern`, or the name alone.
    fn parse(text: &str) -> Result<Self, Status> {
        let (name, value) = text.split_once(['=', '~']).unwrap_or((text, ""));
        let value = value.trim_start_matches('=').to_owned();
        match name {
            "id" => Ok(Self::Id(value)),
            "type" => Ok(Self::Kind(value)),
            "description" => Ok(Self::Description(value)),
            "inuse" => Ok(Self::InUse),
            "mutable" | "private" => Ok(Self::Mutable),
            "immutable" | "shared" | "parent" | "parents" => Ok(Self::Nothing),
            _ => Err(Status::invalid(format!("failed to parse the filter {text:?}"))),
        }
    }

    fn takes(&self, record: &UsageRecord) -> bool {
        match self {
            Self::Id(id) => record.id.starts_with(id.as_str()),
            Self::Kind(kind) => record.record_type == *kind,
            Self::Description(text) => record.description.contains(text.as_str()),
            Self::InUse => record.in_use,
            Self::Mutable => true,
            Self::Nothing => false,
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|e| wharf_model::Error::internal(format!("a worker failed: {e}")));
    done.and_then(|done| done).map_err(|e| status(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let record = UsageRecord {
            id: "abc".to_owned(),
            record_type: KIND.to_owned(),
            in_use: true,
            ..UsageRecord::default()
        };
        for (text, takes) in [
            ("id==ab", true),
            ("id~=x", false),
            ("type==exec.cachemount", true),
            ("type=regular", false),
            ("inuse", true),
            ("shared", false),
        ] {
            assert_eq!(Filter::parse(text).unwrap().takes(&record), takes, "{text}");
        }
        assert!(Filter::parse("what==x").is_err());
    }
}
