//! What there is of a cache besides images: the directories of `RUN --mount=type=cache`.
//!
//! Images of steps are images, which `docker image prune` is about.

use crate::BuildKit;
use crate::error::status;
use wharf_build::caches::{Caches, Listed};
use wharf_engine::clock;
use wharf_grpc::Status;
use wharf_grpc::proto::control::{DiskUsageRequest, DiskUsageResponse, PruneRequest, UsageRecord};
use wharf_grpc::proto::ops::Timestamp;
use wharf_grpc::server::Reply;
use wharf_model::Result;

/// BuildKit's name for such a directory.
const KIND: &str = "exec.cachemount";

impl BuildKit {
    pub(crate) async fn disk_usage(&self, request: DiskUsageRequest) -> Result<DiskUsageResponse, Status> {
        let filters = Filter::all(&request.filter)?;
        let caches = self.builder.caches.clone();
        let listed = blocking(move || caches.list()).await?;
        let record = listed.into_iter().map(record).filter(|r| filters.iter().all(|f| f.takes(r))).collect();
        Ok(DiskUsageResponse { record })
    }

    pub(crate) async fn prune(&self, request: PruneRequest) -> Result<Reply, Status> {
        let filters = Filter::all(&request.filter)?;
        let caches = self.builder.caches.clone();
        let removed = blocking(move || remove(&caches, &filters, &request)).await?;
        let (answers, reply) = Reply::many();
        tokio::spawn(async move {
            for record in removed {
                answers.send(&record).await;
            }
        });
        Ok(reply)
    }
}

/// The longest unused first, until as much is left as may stay.
fn remove(caches: &Caches, filters: &[Filter], request: &PruneRequest) -> Result<Vec<UsageRecord>> {
    let listed = caches.list()?;
    let mut left: u64 = listed.iter().map(|cache| cache.size).sum();
    let may_stay = u64::try_from(request.reserved_space).unwrap_or_default();
    let until = clock::now_ns() - i128::from(request.keep_duration);
    let mut removed = Vec::new();
    for cache in listed {
        let (id, size, used) = (cache.id.clone(), cache.size, cache.about.used_ns);
        let record = record(cache);
        if may_stay > 0 && left <= may_stay {
            break;
        }
        if used <= until && filters.iter().all(|filter| filter.takes(&record)) && caches.remove(&id)? {
            left -= size;
            removed.push(record);
        }
    }
    Ok(removed)
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
