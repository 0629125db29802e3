//! `system df -v`.

use crate::failure::Failure;
use crate::format::list::{Listing, Row, ellipsis, unescape};
use crate::format::size::{decimal, precise};
use crate::format::time::{absolute, ago, parse};
use crate::image_ref::{familiar, split};
use crate::template::Template;
use crate::verb::container::ps;
use crate::verb::system::inspect::short_id;
use crate::verb::volume::ls as volumes;
use serde_json::{Value, json};
use wharf_docker_api::types::image::Summary;
use wharf_docker_api::types::system::{BuildCache, DiskUsage};

/// The same with a template, which sees all lists at once.
pub(super) fn formatted(usage: &DiskUsage, format: &str) -> Result<String, Failure> {
    let list = |rows: Vec<Row>| rows.into_iter().map(Row::into_value).collect::<Vec<_>>();
    let containers = usage.containers.iter().flatten().map(|container| ps::row(container, true));
    let volumes = usage.volumes.iter().flatten().map(|volume| volumes::row(volume.clone(), true));
    let all = json!({
        "Images": usage.images.iter().flatten().map(image).collect::<Vec<_>>(),
        "Containers": list(containers.collect()),
        "Volumes": list(volumes.collect()),
        "BuildCache": usage.build_cache.iter().flatten().map(cached).collect::<Vec<_>>(),
    });
    let format = if format == "json" { "{{json .}}".to_owned() } else { unescape(format) };
    Ok(Template::parse(&format)?.run(&all)? + "\n")
}

fn image(image: &Summary) -> Value {
    let (repository, tag) = image.repo_tags.first().map_or(("<none>", None), |name| split(name));
    let own = (image.size - image.shared_size.max(0)).max(0);
    json!({
        "Repository": familiar(repository),
        "Tag": tag.unwrap_or("<none>"),
        "Digest": "",
        "ID": image.id,
        "CreatedAt": absolute(image.created),
        "CreatedSince": ago(image.created),
        "Size": decimal(image.size),
        "VirtualSize": precise(image.size.max(0).cast_unsigned()),
        "SharedSize": precise(image.shared_size.max(0).cast_unsigned()),
        "UniqueSize": precise(own.cast_unsigned()),
        "Containers": image.containers.max(0).to_string(),
    })
}

fn cached(entry: &BuildCache) -> Value {
    json!({
        "ID": entry.id,
        "Parent": entry.parents.iter().flatten().cloned().collect::<Vec<_>>().join(", "),
        "CacheType": entry.kind,
        "Description": entry.description,
        "InUse": entry.in_use.to_string(),
        "Shared": entry.shared.to_string(),
        "Size": decimal(entry.size),
        "CreatedAt": entry.created_at,
        "LastUsedAt": entry.last_used_at.clone().unwrap_or_default(),
        "UsageCount": entry.usage_count.to_string(),
    })
}

/// Each image, container, volume and entry of the build cache in tables.
pub(super) fn tables(usage: &DiskUsage) -> Result<String, Failure> {
    const IMAGES: Listing = Listing {
        columns: &[
            ("R", "REPOSITORY"),
            ("T", "TAG"),
            ("I", "IMAGE ID"),
            ("C", "CREATED"),
            ("S", "SIZE"),
            ("H", "SHARED SIZE"),
            ("U", "UNIQUE SIZE"),
            ("N", "CONTAINERS"),
        ],
        table: &["R", "T", "I", "C", "S", "H", "U", "N"],
    };
    const CONTAINERS: Listing = Listing {
        columns: &[
            ("I", "CONTAINER ID"),
            ("M", "IMAGE"),
            ("C", "COMMAND"),
            ("V", "LOCAL VOLUMES"),
            ("S", "SIZE"),
            ("A", "CREATED"),
            ("T", "STATUS"),
            ("N", "NAMES"),
        ],
        table: &["I", "M", "C", "V", "S", "A", "T", "N"],
    };
    const VOLUMES: Listing =
        Listing { columns: &[("N", "VOLUME NAME"), ("L", "LINKS"), ("S", "SIZE")], table: &["N", "L", "S"] };
    const CACHE: Listing = Listing {
        columns: &[
            ("I", "CACHE ID"),
            ("T", "CACHE TYPE"),
            ("S", "SIZE"),
            ("C", "CREATED"),
            ("L", "LAST USED"),
            ("U", "USAGE"),
            ("H", "SHARED"),
        ],
        table: &["I", "T", "S", "C", "L", "U", "H"],
    };
    let images: Vec<Row> = usage
        .images
        .iter()
        .flatten()
        .map(|image| {
            let (repository, tag) = image.repo_tags.first().map_or(("<none>", None), |name| split(name));
            Row::new([
                ("R", repository.into()),
                ("T", tag.unwrap_or("<none>").into()),
                ("I", short_id(&image.id).into()),
                ("C", ago(image.created).into()),
                ("S", decimal(image.size).into()),
                ("H", precise(image.shared_size.max(0).cast_unsigned()).into()),
                ("U", precise((image.size - image.shared_size.max(0)).max(0).cast_unsigned()).into()),
                ("N", image.containers.max(0).to_string().into()),
            ])
        })
        .collect();
    let containers: Vec<Row> = usage
        .containers
        .iter()
        .flatten()
        .map(|container| {
            Row::new([
                ("I", short_id(&container.id).into()),
                ("M", container.image.as_str().into()),
                ("C", format!("\"{}\"", ellipsis(&container.command, 20)).into()),
                ("V", container.mounts.iter().filter(|m| m.kind == "volume").count().to_string().into()),
                ("S", decimal(container.size_rw.unwrap_or(0)).into()),
                ("A", ago(container.created).into()),
                ("T", container.status.as_str().into()),
                ("N", container.names.first().map_or("", |name| name.trim_start_matches('/')).into()),
            ])
        })
        .collect();
    let volumes: Vec<Row> = usage
        .volumes
        .iter()
        .flatten()
        .map(|volume| {
            let usage = volume.usage_data.clone().unwrap_or_default();
            Row::new([
                ("N", volume.name.as_str().into()),
                ("L", usage.ref_count.max(0).to_string().into()),
                ("S", precise(usage.size.max(0).cast_unsigned()).into()),
            ])
        })
        .collect();
    let cache: Vec<Row> = usage
        .build_cache
        .iter()
        .flatten()
        .map(|entry| {
            Row::new([
                ("I", short_id(&entry.id).into()),
                ("T", entry.kind.as_str().into()),
                ("S", decimal(entry.size).into()),
                ("C", since(&entry.created_at).into()),
                ("L", entry.last_used_at.as_deref().map(since).unwrap_or_default().into()),
                ("U", entry.usage_count.to_string().into()),
                ("H", entry.shared.to_string().into()),
            ])
        })
        .collect();
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: {}\n\n{}",
        IMAGES.show(&images, None)?,
        CONTAINERS.show(&containers, None)?,
        VOLUMES.show(&volumes, None)?,
        precise(usage.build_cache.iter().flatten().map(|entry| entry.size.max(0).cast_unsigned()).sum()),
        CACHE.show(&cache, None)?
    ))
}

/// How long ago a time of the API was; empty when it says none.
fn since(text: &str) -> String {
    parse(text).map(ago).unwrap_or_default()
}
