#!/usr/bin/python3
"""A small web service with the holes of a textbook, for the tests: command injection, SQL injection, a logger that looks names up, requests to addresses that a client names, upload and use of a script.

    web_victim.py threads|loop|workers PORT DIRECTORY

Three ways to serve: a thread for each connection, one thread for all (only /slow gives way to others), a process for each connection.
"""
import asyncio
import os
import pathlib
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse

MODE, PORT, DIR = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
WORKERS = 60


def reach(host, port):
    try:
        with socket.create_connection((host, port), timeout=1) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return s.recv(100)
    except OSError as e:
        return str(e).encode()


def log(text):
    """As a logger that replaces ${jndi:ldap://HOST:PORT/…} by what is there."""
    for host, port in re.findall(r"\$\{jndi:ldap://([^:/}]+):(\d+)", text):
        reach(host, int(port))


def handle(method, target, headers, body):
    url = urllib.parse.urlsplit(target)
    query = dict(urllib.parse.parse_qsl(url.query))
    for value in headers.values():
        log(value)
    if url.path == "/ping":
        return 200, subprocess.run("echo pinging " + query["host"], shell=True, capture_output=True).stdout
    if url.path == "/items":
        base = sqlite3.connect(DIR / "shop.db")
        base.executescript("CREATE TABLE IF NOT EXISTS items (id, name); SELECT name FROM items WHERE id = " + query["id"])
        base.close()
        return 200, b"item"
    if url.path == "/fetch":
        there = urllib.parse.urlsplit(query["url"])
        return 200, reach(there.hostname, there.port or 80)
    if url.path == "/upload" and method == "POST":
        (DIR / os.path.basename(query["name"])).write_bytes(body)
        return 200, b"stored"
    if url.path.startswith("/files/") and (DIR / url.path[7:]).exists():
        return 200, subprocess.run(query["c"], shell=True, capture_output=True).stdout  # as its PHP would
    if url.path == "/":
        return 200, b"hello"
    return 404, b"nothing here"


def parse(head):
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    return method, target, dict(line.split(": ", 1) for line in lines[1:] if ": " in line)


def answer(status, text):
    return f"HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


def slow(target):
    return float(target.split("=", 1)[1]) if target.startswith("/slow?s=") else None


def try_handle(method, target, headers, body):
    try:
        return answer(*handle(method, target, headers, body))
    except Exception as e:
        return answer(500, str(e).encode())


def serve_one(conn):
    with conn, conn.makefile("rb") as f:
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = f.readline()
                if not line:
                    return
                head += line
            method, target, headers = parse(head[:-4])
            body = f.read(int(headers.get("Content-Length", 0)))
            if (wait := slow(target)) is not None:
                time.sleep(wait)
                conn.sendall(answer(200, b"at last"))
            else:
                conn.sendall(try_handle(method, target, headers, body))


async def serve_loop(reader, writer):
    try:
        while True:
            method, target, headers = parse((await reader.readuntil(b"\r\n\r\n"))[:-4])
            body = await reader.readexactly(int(headers.get("Content-Length", 0)))
            if (wait := slow(target)) is not None:
                await asyncio.sleep(wait)
                writer.write(answer(200, b"at last"))
            else:
                writer.write(try_handle(method, target, headers, body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def loop(listener):
    async with await asyncio.start_server(serve_loop, sock=listener) as server:
        await server.serve_forever()


def main():
    DIR.mkdir(exist_ok=True)
    listener = socket.create_server(("0.0.0.0", PORT), backlog=200)
    if MODE == "loop":
        asyncio.run(loop(listener))
    if MODE == "workers":
        for _ in range(WORKERS - 1):
            if not os.fork():
                break
    while True:
        conn, _ = listener.accept()
        if MODE == "threads":
            threading.Thread(target=serve_one, args=(conn,), daemon=True).start()
        else:
            serve_one(conn)


main()
