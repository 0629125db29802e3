//! All verbs: what they are called, what they take, what they do.

mod container;
mod image;
mod network;
mod system;
mod volume;

use crate::context::Context;
use crate::failure::Outcome;
use clap::{ArgMatches, Command};
use std::future::Future;
use std::pin::Pin;

/// A command on its way.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A command.
#[derive(Debug)]
pub(crate) struct Verb {
    /// Its names, the one it is known by first; of one word, or of a group and a word.
    pub(crate) names: &'static [&'static str],
    /// What follows the name.
    pub(crate) usage: &'static str,
    /// What it does, in a few words.
    pub(crate) about: &'static str,
    /// Whether an engine must be there before it begins.
    pub(crate) needs_engine: bool,
    /// Its flags.
    pub(crate) command: fn() -> Command,
    /// Itself.
    pub(crate) run: for<'a> fn(&'a Context, ArgMatches) -> Running<'a>,
}

impl Verb {
    /// Its name of one word.
    pub(crate) fn top(&self) -> Option<&'static str> {
        self.names.iter().copied().find(|name| !name.contains(' '))
    }

    /// Its name within a group.
    pub(crate) fn within(&self, group: &str) -> Option<&'static str> {
        self.names.iter().find_map(|name| name.strip_prefix(group)?.strip_prefix(' '))
    }
}

/// Groups of verbs.
pub(crate) const GROUPS: [(&str, &str); 6] = [
    ("builder", "Manage builds"),
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("system", "Manage the engine"),
    ("volume", "Manage volumes"),
];

macro_rules! verbs {
    ($($($module:ident)::+ ($usage:literal, $about:literal $(, $without_engine:ident)?) $($name:literal)+;)*) => {
        /// Every verb.
        pub(crate) static VERBS: &[Verb] = &[$(
            Verb {
                names: &[$($name),+],
                usage: $usage,
                about: $about,
                needs_engine: verbs!(@engine $($without_engine)?),
                command: || {
                    <$($module)::+::Options as clap::Args>::augment_args(Command::new([$($name),+][0]))
                },
                run: |context, matches| Box::pin(async move {
                    let options = <$($module)::+::Options as clap::FromArgMatches>::from_arg_matches(&matches)
                        .map_err(|e| crate::failure::Failure::new(e.to_string()))?;
                    $($module)::+::run(context, options).await
                }),
            },
        )*];
    };
    (@engine) => { true };
    (@engine no_engine) => { false };
}

verbs! {
    container::run("[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create and run a new container from an image") "run" "container run";
    container::exec("[OPTIONS] CONTAINER COMMAND [ARG...]", "Execute a command in a running container") "exec" "container exec";
    container::ps("[OPTIONS]", "List containers") "ps" "container ls" "container list" "container ps";
    image::build("[OPTIONS] PATH | URL | -", "Build an image from a Dockerfile") "build" "image build" "builder build";
    image::pull("[OPTIONS] NAME[:TAG|@DIGEST]", "Download an image from a registry") "pull" "image pull";
    image::push("[OPTIONS] NAME[:TAG]", "Upload an image to a registry") "push" "image push";
    image::ls("[OPTIONS] [REPOSITORY[:TAG]]", "List images") "images" "image ls" "image list";
    system::login("[OPTIONS] [SERVER]", "Authenticate to a registry") "login";
    system::logout("[SERVER]", "Log out from a registry", no_engine) "logout";
    system::version("[OPTIONS]", "Show the version information", no_engine) "version";
    system::info("[OPTIONS]", "Display system-wide information") "info" "system info";
    container::attach("[OPTIONS] CONTAINER", "Attach local standard input, output, and error streams to a running container") "attach" "container attach";
    container::commit("[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", "Create a new image from a container's changes") "commit" "container commit";
    container::cp("[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH", "Copy files/folders between a container and the local filesystem") "cp" "container cp";
    container::create("[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a new container") "create" "container create";
    container::diff("CONTAINER", "Inspect changes to files or directories on a container's filesystem") "diff" "container diff";
    system::events("[OPTIONS]", "Get real time events from the server") "events" "system events";
    container::export("[OPTIONS] CONTAINER", "Export a container's filesystem as a tar archive") "export" "container export";
    image::history("[OPTIONS] IMAGE", "Show the history of an image") "history" "image history";
    image::import("[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", "Import the contents from a tarball to create a filesystem image") "import" "image import";
    system::inspect("[OPTIONS] NAME|ID [NAME|ID...]", "Return low-level information on engine objects") "inspect";
    container::kill("[OPTIONS] CONTAINER [CONTAINER...]", "Kill one or more running containers") "kill" "container kill";
    image::load("[OPTIONS]", "Load an image from a tar archive or STDIN") "load" "image load";
    container::logs("[OPTIONS] CONTAINER", "Fetch the logs of a container") "logs" "container logs";
    container::pause("CONTAINER [CONTAINER...]", "Pause all processes within one or more containers") "pause" "container pause";
    container::port("CONTAINER [PRIVATE_PORT[/PROTO]]", "List port mappings or a specific mapping for the container") "port" "container port";
    container::rename("CONTAINER NEW_NAME", "Rename a container") "rename" "container rename";
    container::restart("[OPTIONS] CONTAINER [CONTAINER...]", "Restart one or more containers") "restart" "container restart";
    container::rm("[OPTIONS] CONTAINER [CONTAINER...]", "Remove one or more containers") "rm" "container rm" "container remove";
    image::rm("[OPTIONS] IMAGE [IMAGE...]", "Remove one or more images") "rmi" "image rm" "image remove";
    image::save("[OPTIONS] IMAGE [IMAGE...]", "Save one or more images to a tar archive (streamed to STDOUT by default)") "save" "image save";
    image::search("[OPTIONS] TERM", "Search a registry for images") "search";
    container::start("[OPTIONS] CONTAINER [CONTAINER...]", "Start one or more stopped containers") "start" "container start";
    container::stats("[OPTIONS] [CONTAINER...]", "Display a live stream of container(s) resource usage statistics") "stats" "container stats";
    container::stop("[OPTIONS] CONTAINER [CONTAINER...]", "Stop one or more running containers") "stop" "container stop";
    image::tag("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE") "tag" "image tag";
    container::top("CONTAINER [ps OPTIONS]", "Display the running processes of a container") "top" "container top";
    container::unpause("CONTAINER [CONTAINER...]", "Unpause all processes within one or more containers") "unpause" "container unpause";
    container::update("[OPTIONS] CONTAINER [CONTAINER...]", "Update configuration of one or more containers") "update" "container update";
    container::wait("CONTAINER [CONTAINER...]", "Block until one or more containers stop, then print their exit codes") "wait" "container wait";
    container::inspect("[OPTIONS] CONTAINER [CONTAINER...]", "Display detailed information on one or more containers") "container inspect";
    container::prune("[OPTIONS]", "Remove all stopped containers") "container prune";
    image::inspect("[OPTIONS] IMAGE [IMAGE...]", "Display detailed information on one or more images") "image inspect";
    image::prune("[OPTIONS]", "Remove unused images") "image prune";
    image::builder_prune("[OPTIONS]", "Remove build cache") "builder prune";
    network::connect("[OPTIONS] NETWORK CONTAINER", "Connect a container to a network") "network connect";
    network::create("[OPTIONS] NETWORK", "Create a network") "network create";
    network::disconnect("[OPTIONS] NETWORK CONTAINER", "Disconnect a container from a network") "network disconnect";
    network::inspect("[OPTIONS] NETWORK [NETWORK...]", "Display detailed information on one or more networks") "network inspect";
    network::ls("[OPTIONS]", "List networks") "network ls" "network list";
    network::prune("[OPTIONS]", "Remove all unused networks") "network prune";
    network::rm("[OPTIONS] NETWORK [NETWORK...]", "Remove one or more networks") "network rm" "network remove";
    volume::create("[OPTIONS] [VOLUME]", "Create a volume") "volume create";
    volume::inspect("[OPTIONS] VOLUME [VOLUME...]", "Display detailed information on one or more volumes") "volume inspect";
    volume::ls("[OPTIONS]", "List volumes") "volume ls" "volume list";
    volume::prune("[OPTIONS]", "Remove unused local volumes") "volume prune";
    volume::rm("[OPTIONS] VOLUME [VOLUME...]", "Remove one or more volumes") "volume rm" "volume remove";
    system::df("[OPTIONS]", "Show disk usage") "system df";
    system::prune("[OPTIONS]", "Remove unused data") "system prune";
}

/// The verb that begins with these words, and how many words name it.
pub(crate) fn find(words: &[&str]) -> Option<(&'static Verb, usize)> {
    let two = words.get(1).map(|second| format!("{} {second}", words[0]));
    let by_name = |wanted: &str| VERBS.iter().find(|verb| verb.names.contains(&wanted));
    if let Some(verb) =
        two.as_deref().filter(|two| GROUPS.iter().any(|(g, _)| two.starts_with(g))).and_then(by_name)
    {
        return Some((verb, 2));
    }
    by_name(words.first()?).map(|verb| (verb, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn flags_are_consistent() {
        for verb in VERBS {
            crate::app::decorate("wharf", verb).debug_assert();
        }
    }

    #[test]
    fn names_are_found() {
        assert_eq!(find(&["ps"]).unwrap().1, 1);
        assert_eq!(find(&["container", "ls"]).unwrap().0.names[0], "ps");
        assert_eq!(find(&["network", "ls"]).unwrap().1, 2);
        assert!(find(&["container"]).is_none() && find(&["nope", "x"]).is_none());
        let mut names: Vec<_> = VERBS.iter().flat_map(|verb| verb.names).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name is taken twice");
    }

    #[test]
    fn help_matches_the_golden_files() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
        let update = std::env::var_os("UPDATE_GOLDEN").is_some();
        for verb in VERBS {
            let text = crate::app::decorate("wharf", verb).term_width(100).render_long_help().to_string();
            let path = dir.join(verb.names[0].replace(' ', "-") + ".txt");
            if update {
                std::fs::create_dir_all(&dir).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            let golden = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(text, golden, "{}: UPDATE_GOLDEN=1 accepts the new help", path.display());
        }
    }
}
