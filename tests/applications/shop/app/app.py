"""Counts visits in Redis and keeps them in PostgreSQL."""
import json, os, signal, socket, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2.pool
import redis

password = open(os.environ["PASSWORD_FILE"]).read().strip()
pool = psycopg2.pool.ThreadedConnectionPool(1, 20, host="db", user="shop", password=password, dbname="shop")
gate = threading.Semaphore(20)
cache = redis.Redis(host="cache")


def query(text, fetch=False):
    with gate:
        connection = pool.getconn()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchone()[0] if fetch else None
        finally:
            pool.putconn(connection)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            return self.answer({"health": query("SELECT 1", True)})
        if self.path == "/orders":
            return self.answer({"orders": query("SELECT count(*) FROM orders", True), "visits": int(cache.get("visits") or 0)})
        if self.path == "/order":
            query("INSERT INTO orders DEFAULT VALUES")
        self.answer({"version": os.environ["VERSION"], "host": socket.gethostname(), "visits": cache.incr("visits")})

    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # What is being answered at the end is answered.
    daemon_threads = False
    request_queue_size = 128


# Replicas that begin at once would make it at once.
query("SELECT pg_advisory_xact_lock(1); CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY, at timestamptz DEFAULT now())")
server = Server(("", 8000), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("version", os.environ["VERSION"], "serves", flush=True)
server.serve_forever(poll_interval=0.05)
server.server_close()
print("ended", flush=True)
