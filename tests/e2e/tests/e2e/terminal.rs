//! `-it`: a terminal in the container, its size, and the keys that leave it.

use wharf_e2e::{Engine, Terminal};

fn on_terminal(e: &Engine, args: &[&str]) -> Terminal {
    let mut command = e.wharf();
    command.args(args);
    Terminal::run(&command)
}

#[test]
fn a_shell_that_resizes() {
    let Some(e) = Engine::start() else { return };
    let mut t = on_terminal(&e, &["run", "--rm", "-it", "busybox", "sh"]);
    t.press("echo si''ze: $(stty size)\n");
    t.expect("size: 24 80");
    t.resize(50, 132);
    // The new size takes its way through client, engine and monitor.
    t.press("while [ \"$(stty size)\" != '50 132' ]; do usleep 1000; done; echo grown''up\n");
    t.expect("grownup");
    t.press("test -t 0 && test -t 1 && test -t 2 && echo all th''ree; tty\n");
    t.expect("all three");
    t.expect("/dev/");
    t.press("exit 6\n");
    assert_eq!(t.end().0, 6);
    assert_eq!(e.run(&["ps", "-aq"]).ok(), "");
}

#[test]
fn ctrl_c_reaches_the_program_and_not_the_client() {
    let Some(e) = Engine::start() else { return };
    let script = "trap 'echo caught; exit 3' INT; echo armed; while :; do usleep 1000; done";
    let mut t = on_terminal(&e, &["run", "--rm", "-it", "busybox", "sh", "-c", script]);
    t.expect("armed");
    t.press("\x03");
    t.expect("caught");
    assert_eq!(t.end().0, 3);
}

#[test]
fn ctrl_p_ctrl_q_leaves_and_attach_comes_back() {
    let Some(e) = Engine::start() else { return };
    let mut t = on_terminal(&e, &["run", "-it", "--name", "left", "busybox", "sh"]);
    t.press("x=kept; echo re''ady\n");
    t.expect("ready");
    t.press("\x10\x11");
    assert_eq!(t.end().0, 0);
    assert_eq!(e.run(&["inspect", "--format", "{{.State.Status}}", "left"]).ok(), "running");
    let mut t = on_terminal(&e, &["attach", "left"]);
    t.press("echo still $x''; exit 4\n");
    t.expect("still kept");
    assert_eq!(t.end().0, 4);
}

#[test]
fn exec_has_a_terminal_of_its_own() {
    let Some(e) = Engine::start() else { return };
    e.run(&["run", "-d", "--name", "sleeper", "busybox", "sleep", "1000"]).ok();
    let mut t = on_terminal(&e, &["exec", "-it", "sleeper", "sh"]);
    t.resize(33, 99);
    t.press("while [ \"$(stty size)\" != '33 99' ]; do usleep 1000; done; echo grown''up; exit 2\n");
    t.expect("grownup");
    assert_eq!(t.end().0, 2);
    assert_eq!(e.run(&["inspect", "--format", "{{.State.Status}}", "sleeper"]).ok(), "running");
}

#[test]
fn dockers_client_on_a_terminal() {
    let Some(e) = Engine::start() else { return };
    let Some(mut command) = e.docker_command() else {
        println!("skipped: there is no docker client on this host (DOCKER_BIN names one)");
        return;
    };
    command.args(["run", "--rm", "-it", "busybox", "sh"]);
    let mut t = Terminal::run(&command);
    t.resize(40, 120);
    t.press("while [ \"$(stty size)\" != '40 120' ]; do usleep 1000; done; echo grown''up; exit 5\n");
    t.expect("grownup");
    assert_eq!(t.end().0, 5);
}
