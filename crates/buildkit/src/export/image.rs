//! An image of this engine, with names, and pushed when that is asked for.

use super::{Export, Said, names};
use crate::attributes::is_true;
use crate::error::status;
use crate::progress::Step;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use wharf_engine::images::Event;
use wharf_grpc::Status;
use wharf_model::Result;
use wharf_oci::reference::Reference;

impl Export<'_> {
    pub(super) async fn image(&self) -> Result<Said, Status> {
        let mut step = self.build.progress.step("exporting to image");
        let names = names(self.attrs)?;
        let done = self.name_and_push(&mut step, &names).await;
        step.ended(done)?;
        Ok(self.said(&names))
    }

    async fn name_and_push(&self, step: &mut Step, names: &[Reference]) -> Result<(), Status> {
        let id = &self.image.id;
        // The layers are in place since their steps ended.
        step.part("exporting layers").done();
        step.part(format!("writing image {id}")).done();
        for name in names {
            let part = step.part(format!("naming to {name}"));
            self.kit.builder.images.tag(id.as_str(), name).map_err(|e| status(&e))?;
            self.kit.publish("tag", &self.image, &name.familiar());
            part.done();
        }
        self.kit.publish("create", &self.image, id.as_str());
        if !is_true(self.attr("push")) {
            return Ok(());
        }
        for name in names {
            let mut part = step.part(format!("pushing {name}"));
            part.at(0, 0);
            let credentials = self.caller.credentials(name.domain()).await;
            let pushed = self.kit.builder.images.push(name, credentials, bars(step)).await;
            pushed.map_err(|e| {
                let why = status(&e);
                Status { message: format!("failed to push {}: {}", name.familiar(), why.message), ..why }
            })?;
            self.kit.publish("push", &self.image, &name.familiar());
            part.done();
        }
        Ok(())
    }
}

/// The layers of a push as parts of a step.
fn bars(step: &Step) -> Arc<dyn Fn(Event) + Send + Sync> {
    let (maker, parts) = (step.parts(), Mutex::new(HashMap::new()));
    Arc::new(move |event| {
        let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |id: &str| format!("pushing layer {id}");
        match event {
            Event::Pushing { id, current, total } => {
                let part = parts.entry(id).or_insert_with_key(|id: &String| maker.part(name(id)));
                part.at(current, total);
            }
            Event::Pushed { id } => {
                if let Some(part) = parts.remove(&id) {
                    part.done();
                }
            }
            _ => {}
        }
    })
}
