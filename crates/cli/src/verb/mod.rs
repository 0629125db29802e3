//! All verbs: what they are called, what they take, what they do.

pub(crate) mod absent;
pub(crate) mod compose;
mod container;
mod context;
mod image;
mod manifest;
mod network;
mod plugin;
mod prune;
mod system;
mod up;
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
pub(crate) const GROUPS: [(&str, &str); 10] = [
    ("builder", "What builds keep"),
    ("compose", "Projects of several services, from Compose files"),
    ("container", "Containers"),
    ("context", "Engines by name"),
    ("image", "Images"),
    ("manifest", "Manifests and lists of them, in registries"),
    ("network", "Networks"),
    ("plugin", "Plugins, which this engine has none of"),
    ("system", "The engine itself"),
    ("volume", "Volumes"),
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
    container::run("[OPTIONS] IMAGE [COMMAND] [ARG...]", "Make a container from an image and run it") "run" "container run";
    container::exec("[OPTIONS] CONTAINER COMMAND [ARG...]", "Run a command in a container that runs") "exec" "container exec";
    container::ps("[OPTIONS]", "Show containers") "ps" "container ls" "container list" "container ps";
    image::build("[OPTIONS] PATH | URL | -", "Make an image by a Dockerfile") "build" "image build" "builder build";
    image::pull("[OPTIONS] NAME[:TAG|@DIGEST]", "Fetch an image from a registry") "pull" "image pull";
    image::push("[OPTIONS] NAME[:TAG]", "Send an image to a registry") "push" "image push";
    image::ls("[OPTIONS] [REPOSITORY[:TAG]]", "Show images") "images" "image ls" "image list";
    up("[OPTIONS] [DIRECTORY]", "Bring up what a directory has: a Compose file or a Dockerfile") "up";
    system::login("[OPTIONS] [SERVER]", "Keep credentials for a registry") "login";
    system::logout("[SERVER]", "Forget credentials for a registry", no_engine) "logout";
    system::version("[OPTIONS]", "Show versions of client and engine", no_engine) "version";
    system::info("[OPTIONS]", "Show what the engine is and has") "info" "system info";
    container::attach("[OPTIONS] CONTAINER", "Join the streams of a container that runs") "attach" "container attach";
    container::commit("[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", "Make an image from a container") "commit" "container commit";
    container::cp("[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH", "Copy files to or from a container") "cp" "container cp";
    container::create("[OPTIONS] IMAGE [COMMAND] [ARG...]", "Make a container without starting it") "create" "container create";
    container::diff("CONTAINER", "Show which files of a container changed") "diff" "container diff";
    system::events("[OPTIONS]", "Show what happens in the engine as it happens") "events" "system events";
    container::export("[OPTIONS] CONTAINER", "Write a container's files as a tar") "export" "container export";
    image::history("[OPTIONS] IMAGE", "Show how an image was made") "history" "image history";
    image::import("[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", "Make an image from a tar of files") "import" "image import";
    system::inspect("[OPTIONS] NAME|ID [NAME|ID...]", "Show all that is known of things") "inspect";
    container::kill("[OPTIONS] CONTAINER [CONTAINER...]", "Send containers a signal, KILL by default") "kill" "container kill";
    image::load("[OPTIONS]", "Read images from an archive") "load" "image load";
    container::logs("[OPTIONS] CONTAINER", "Show what a container has written") "logs" "container logs";
    container::pause("CONTAINER [CONTAINER...]", "Freeze containers") "pause" "container pause";
    container::port("CONTAINER [PRIVATE_PORT[/PROTO]]", "Show where a container's ports are published") "port" "container port";
    container::rename("CONTAINER NEW_NAME", "Give a container another name") "rename" "container rename";
    container::restart("[OPTIONS] CONTAINER [CONTAINER...]", "Stop containers and start them again") "restart" "container restart";
    container::rm("[OPTIONS] CONTAINER [CONTAINER...]", "Remove containers") "rm" "container rm" "container remove";
    image::rm("[OPTIONS] IMAGE [IMAGE...]", "Remove images") "rmi" "image rm" "image remove";
    image::save("[OPTIONS] IMAGE [IMAGE...]", "Write images to an archive") "save" "image save";
    image::search("[OPTIONS] TERM", "Look for images in a registry") "search";
    container::start("[OPTIONS] CONTAINER [CONTAINER...]", "Start containers") "start" "container start";
    container::stats("[OPTIONS] [CONTAINER...]", "Show what containers use, as it changes") "stats" "container stats";
    container::stop("[OPTIONS] CONTAINER [CONTAINER...]", "Stop containers") "stop" "container stop";
    image::tag("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Give an image a further name") "tag" "image tag";
    container::top("CONTAINER [ps OPTIONS]", "Show the processes of a container") "top" "container top";
    container::unpause("CONTAINER [CONTAINER...]", "Let frozen containers go on") "unpause" "container unpause";
    container::update("[OPTIONS] CONTAINER [CONTAINER...]", "Change the limits of containers") "update" "container update";
    container::wait("CONTAINER [CONTAINER...]", "Wait for containers to end and print their exit statuses") "wait" "container wait";
    container::inspect("[OPTIONS] CONTAINER [CONTAINER...]", "Show all that is known of containers") "container inspect";
    container::prune("[OPTIONS]", "Remove containers that do not run") "container prune";
    image::inspect("[OPTIONS] IMAGE [IMAGE...]", "Show all that is known of images") "image inspect";
    image::prune("[OPTIONS]", "Remove images that nothing uses") "image prune";
    image::builder_prune("[OPTIONS]", "Remove what builds have kept") "builder prune";
    image::check("[OPTIONS] [IMAGE...]", "Check that images are as they were stored, and mend what is damaged") "image check";
    image::copy("[OPTIONS] SOURCE TARGET", "Copy an image from one registry to another, with all its platforms") "image copy";
    manifest::annotate("[OPTIONS] MANIFEST_LIST MANIFEST", "Say what a manifest of a list runs on", no_engine) "manifest annotate";
    manifest::create("[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]", "Make a list of manifests, to be pushed") "manifest create";
    manifest::inspect("[OPTIONS] [MANIFEST_LIST] MANIFEST", "Show a manifest or a list of them") "manifest inspect";
    manifest::push("[OPTIONS] MANIFEST_LIST", "Send a list of manifests to its registry") "manifest push";
    manifest::rm("MANIFEST_LIST [MANIFEST_LIST...]", "Forget lists that were made here", no_engine) "manifest rm";
    network::connect("[OPTIONS] NETWORK CONTAINER", "Add a container to a network") "network connect";
    network::create("[OPTIONS] NETWORK", "Make a network") "network create";
    network::disconnect("[OPTIONS] NETWORK CONTAINER", "Take a container out of a network") "network disconnect";
    network::inspect("[OPTIONS] NETWORK [NETWORK...]", "Show all that is known of networks") "network inspect";
    network::ls("[OPTIONS]", "Show networks") "network ls" "network list";
    network::prune("[OPTIONS]", "Remove networks that no container is in") "network prune";
    network::rm("[OPTIONS] NETWORK [NETWORK...]", "Remove networks") "network rm" "network remove";
    plugin::ls("[OPTIONS]", "Show plugins, of which this engine has none") "plugin ls" "plugin list";
    volume::clone("SOURCE TARGET", "Make a volume with the content of another") "volume clone";
    volume::create("[OPTIONS] [VOLUME]", "Make a volume") "volume create";
    volume::export("[OPTIONS] VOLUME", "Write a volume's files as a tar") "volume export";
    volume::import("VOLUME file|-", "Put the files of a tar into a volume") "volume import";
    volume::inspect("[OPTIONS] VOLUME [VOLUME...]", "Show all that is known of volumes") "volume inspect";
    volume::ls("[OPTIONS]", "Show volumes") "volume ls" "volume list";
    volume::prune("[OPTIONS]", "Remove volumes that no container uses") "volume prune";
    volume::rename("VOLUME NEW_NAME", "Give a volume another name") "volume rename";
    volume::rm("[OPTIONS] VOLUME [VOLUME...]", "Remove volumes") "volume rm" "volume remove";
    volume::update("[OPTIONS] VOLUME", "Change a volume of a swarm, which there is none of") "volume update";
    system::df("[OPTIONS]", "Show what takes up the disk") "system df";
    system::prune("[OPTIONS]", "Remove all that nothing uses") "system prune";
    context::create("[OPTIONS] CONTEXT", "Keep an engine under a name", no_engine) "context create";
    context::export("CONTEXT [FILE|-]", "Write a context with its certificates to a tar", no_engine) "context export";
    context::import("CONTEXT FILE|-", "Take a context from a tar", no_engine) "context import";
    context::inspect("[OPTIONS] [CONTEXT] [CONTEXT...]", "Show all that is known of contexts", no_engine) "context inspect";
    context::ls("[OPTIONS]", "Show the engines that have names", no_engine) "context ls" "context list";
    context::rm("CONTEXT [CONTEXT...]", "Forget contexts", no_engine) "context rm" "context remove";
    context::show("", "Print the name of the context in use", no_engine) "context show";
    context::switch("CONTEXT", "Use a context from now on", no_engine) "context use";
    context::update("[OPTIONS] CONTEXT", "Change a context", no_engine) "context update";
    compose::attach("[OPTIONS] SERVICE", "Join the streams of a service's container") "compose attach";
    compose::build("[OPTIONS] [SERVICE...]", "Make the images of services") "compose build";
    compose::commit("[OPTIONS] SERVICE [REPOSITORY[:TAG]]", "Make an image from a service's container") "compose commit";
    compose::config("[OPTIONS] [SERVICE...]", "Show the project as it was understood", no_engine) "compose config" "compose convert";
    compose::cp("[OPTIONS] SERVICE:SRC_PATH DEST_PATH|- | SRC_PATH|- SERVICE:DEST_PATH", "Copy files to or from services' containers") "compose cp";
    compose::create("[OPTIONS] [SERVICE...]", "Make services' containers without starting them") "compose create";
    compose::down("[OPTIONS] [SERVICE...]", "Stop and remove containers and networks") "compose down";
    compose::events("[OPTIONS] [SERVICE...]", "Show what happens to containers as it happens") "compose events";
    compose::exec("[OPTIONS] SERVICE COMMAND [ARGS...]", "Run a command in a service's container") "compose exec";
    compose::export("[OPTIONS] SERVICE", "Write the files of a service's container as a tar") "compose export";
    compose::images("[OPTIONS] [SERVICE...]", "Show the images of containers") "compose images";
    compose::kill("[OPTIONS] [SERVICE...]", "Send containers a signal, KILL by default") "compose kill";
    compose::logs("[OPTIONS] [SERVICE...]", "Show what containers have written") "compose logs";
    compose::ls("[OPTIONS]", "Show projects") "compose ls";
    compose::pause("[SERVICE...]", "Freeze containers") "compose pause";
    compose::port("[OPTIONS] SERVICE PRIVATE_PORT", "Show where a port is published") "compose port";
    compose::ps("[OPTIONS] [SERVICE...]", "Show containers") "compose ps";
    compose::pull("[OPTIONS] [SERVICE...]", "Fetch images from their registries") "compose pull";
    compose::publish("[OPTIONS] REPOSITORY[:TAG]", "Publish the project as an artifact in a registry") "compose publish";
    compose::push("[OPTIONS] [SERVICE...]", "Send images to their registries") "compose push";
    compose::restart("[OPTIONS] [SERVICE...]", "Stop containers and start them again") "compose restart";
    compose::rm("[OPTIONS] [SERVICE...]", "Remove containers that do not run") "compose rm";
    compose::run("[OPTIONS] SERVICE [COMMAND] [ARGS...]", "Run a command in a container of its own") "compose run";
    compose::scale("[OPTIONS] SERVICE=REPLICAS...", "Set how many containers services have") "compose scale";
    compose::start("[OPTIONS] [SERVICE...]", "Start containers that are there") "compose start";
    compose::stats("[OPTIONS] [SERVICE]", "Show what containers use, as it changes") "compose stats";
    compose::stop("[OPTIONS] [SERVICE...]", "Stop containers") "compose stop";
    compose::top("[SERVICES...]", "Show the processes of containers") "compose top";
    compose::unpause("[SERVICE...]", "Let frozen containers go on") "compose unpause";
    compose::up("[OPTIONS] [SERVICE...]", "Make and start what the files say") "compose up";
    compose::version("[OPTIONS]", "Show the version of Compose", no_engine) "compose version";
    compose::volumes("[OPTIONS] [SERVICE...]", "Show volumes") "compose volumes";
    compose::viz("[OPTIONS]", "Draw the services", no_engine) "compose viz";
    compose::wait("[OPTIONS] SERVICE [SERVICE...]", "Wait for containers to end") "compose wait";
    compose::watch("[OPTIONS] [SERVICE...]", "Bring changes of files into containers as they happen") "compose watch";
    system::completion("bash|zsh|fish", "Print a script that lets a shell complete commands", no_engine) "completion";
    system::man("DIRECTORY", "Write manual pages", no_engine) "man";
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
            crate::app::decorate(verb).debug_assert();
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
            let text = crate::help::verb("wharf", verb);
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
