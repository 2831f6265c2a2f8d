# SPDX-License-Identifier: MIT
"""examples/fetch against a real nginx on the loopback interface: files, delays, slow bytes, errors,
time-outs, "too many at once". nginx has a folder and a configuration of its own, runs in the
foreground as one process, and is ended by its number."""

import hashlib
import http.server
import random
import shutil
import socket
import threading

import kneetest
from kneetest import *

BUILD = os.path.abspath(os.environ.get('KNEE_BUILD') or ROOT / 'build')
FETCH = os.path.join(BUILD, 'examples/fetch')
NGINX = shutil.which('nginx', path=kneetest.PATH)

CONFIG = '''
daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ worker_connections 4000; }}
http {{
	log_format connections '$connection $status $uri';
	access_log access.log connections;
	client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp;
	uwsgi_temp_path temp; scgi_temp_path temp;
	keepalive_requests 100000;
	limit_conn_zone $server_name zone=two:1m;
	limit_req_zone $server_name zone=rate:1m rate=20r/s;
	server {{
		listen 127.0.0.1:{port} backlog=4000;
		server_name here;
		root {folder};
		location /files/ {{ }}
		location /slow/ {{ alias {folder}/files/; limit_rate 100k; }}
		location /backend/ {{ proxy_pass http://127.0.0.1:{backend}; }}
		location /two/ {{
			limit_conn two 2; limit_conn_status 503;
			proxy_pass http://127.0.0.1:{backend};
		}}
		location /rate/ {{ limit_req zone=rate burst=4 nodelay; limit_req_status 429; alias {folder}/files/; }}
	}}
}}
'''


class Backend(http.server.BaseHTTPRequestHandler):
    """/.../delay/MS/NAME: NAME after MS milliseconds; /.../flaky/NAME: 500 the first time, then NAME."""
    protocol_version = 'HTTP/1.1'
    seen = set()
    over = threading.Event()

    def do_GET(self):
        *_, kind, value, name = ['', '', *self.path.split('/')]
        if kind == 'delay':
            self.over.wait(int(value) / 1000)
        status = 200
        if value == 'flaky' and self.path not in self.seen:
            self.seen.add(self.path)
            status = 500
        body = name.encode()
        try:
            self.send_response(status)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass    # who asked is gone

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1000
    daemon_threads = True


def needed(what, reason):
    if not what and os.environ.get('CI'):
        raise AssertionError(reason)
    if not what:
        raise unittest.SkipTest(reason)


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def fetch(*args, **more):
    return run([*kneetest.WRAPPER, FETCH, *args], timeout=120, **more)


def line(url, body):
    return b'200 %d %s %s\n' % (len(body), hashlib.sha256(body).hexdigest().encode(), url.encode())


def whole(*lines):
    """What fetch prints of these lines."""
    text = b''.join(lines)
    return text + b'all %d %s\n' % (len(lines), hashlib.sha256(text).hexdigest().encode())


class Fetch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        needed(os.access(FETCH, os.X_OK), 'examples/fetch is not built: no libcurl or libcrypto')
        needed(NGINX, 'nginx is not installed')
        cls.folder = scratch()
        os.mkdir(os.path.join(cls.folder, 'files'))
        chance = random.Random(1)
        cls.files = {}
        for i in range(60):
            size = 0 if i == 7 else chance.randrange(300000) if i % 10 == 0 else chance.randrange(3000)
            cls.files[f'f{i}.bin'] = chance.randbytes(size)
        for name, data in cls.files.items():
            with open(os.path.join(cls.folder, 'files', name), 'wb') as f:
                f.write(data)
        Backend.over.clear()
        cls.backend = Server(('127.0.0.1', 0), Backend)
        cls.thread = threading.Thread(target=cls.backend.serve_forever)
        cls.thread.start()
        cls.addClassCleanup(cls.backend_end)
        cls.addClassCleanup(cls.nginx_end)
        cls.nginx = None
        for _ in range(10):     # another program may be faster to take the port
            cls.port = free_port()
            if cls.nginx_start():
                break
        else:
            raise AssertionError(open(os.path.join(cls.folder, 'error.log')).read())
        cls.base = f'http://127.0.0.1:{cls.port}'

    @classmethod
    def nginx_start(cls):
        config = os.path.join(cls.folder, 'nginx.conf')
        with open(config, 'w', encoding='ascii') as f:
            f.write(CONFIG.format(port=cls.port, folder=cls.folder, backend=cls.backend.server_port))
        with open(os.path.join(cls.folder, 'said'), 'w') as said:
            cls.nginx = subprocess.Popen(
                [NGINX, '-p', cls.folder, '-c', config, '-e', os.path.join(cls.folder, 'error.log')],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=clean_env())
        wait_for(lambda: cls.nginx.poll() is not None or listens(cls.port), what='nginx listens')
        return cls.nginx.poll() is None

    @classmethod
    def nginx_end(cls):
        if cls.nginx is not None and cls.nginx.poll() is None:
            cls.nginx.terminate()
            cls.nginx.wait(30 * SLOW)

    @classmethod
    def backend_end(cls):
        Backend.over.set()
        cls.backend.shutdown()
        cls.backend.server_close()
        cls.thread.join()

    def url(self, *parts):
        return '/'.join([self.base, *parts])

    def all_files(self, folder='files'):
        return [(self.url(folder, name), data) for name, data in self.files.items()]

    def test_files(self):
        into = os.path.join(scratch(), 'got')
        wanted = self.all_files()
        r = fetch('-o', into, *(u for u, _ in wanted))
        self.assertEqual((r.status, r.err), (0, b''))
        self.assertEqual(r.out, whole(*(line(u, d) for u, d in wanted)))
        self.assertEqual(sorted(os.listdir(into)),
                         [f'{i:08}-{name}' for i, name in enumerate(self.files, 1)])
        for i, (name, data) in enumerate(self.files.items(), 1):
            with open(os.path.join(into, f'{i:08}-{name}'), 'rb') as f:
                self.assertEqual(f.read(), data, name)

    def test_same_for_any_number(self):
        chance = random.Random(2)
        urls = [self.url('backend/delay', str(chance.randrange(60)), f'n{i}') for i in range(80)]
        wanted = whole(*(line(u, u.rsplit('/', 1)[1].encode()) for u in urls))
        for number in ('1', '7', '80', 'auto'):
            r = fetch('-j', number, input='\n'.join(urls).encode())
            self.assertEqual((r.status, r.err, r.out), (0, b'', wanted), f'-j {number}')

    def test_list_on_stdin(self):
        (a, data), (b, more) = self.all_files()[:2]
        r = fetch(input=f'\n{a}\r\n\n{b}'.encode())
        self.assertEqual((r.status, r.out), (0, whole(line(a, data), line(b, more))))
        r = fetch(input=b'')
        self.assertEqual((r.status, r.out), (0, whole()))

    def test_slow_bytes(self):
        wanted = [(u, d) for u, d in self.all_files('slow') if len(d) < 60000]
        r = fetch('-j', '50', *(u for u, _ in wanted))
        self.assertEqual((r.status, r.err), (0, b''))
        self.assertEqual(r.out, whole(*(line(u, d) for u, d in wanted)))

    def test_failures(self):
        into = scratch()
        good, data = self.all_files()[3]
        missing, refused = self.url('files/nothing'), f'http://127.0.0.1:{free_port()}/x'
        odd = 'gopher://127.0.0.1/'
        r = fetch('-o', into, missing, good, refused, odd)
        self.assertEqual(r.status, 3)
        self.assertEqual(r.out, whole(b'404 0 - %s\n' % missing.encode(), line(good, data),
                                      b'- 0 - %s\n' % refused.encode(), b'- 0 - %s\n' % odd.encode()))
        said = r.err.decode().splitlines()
        self.assertEqual(said[0], f'fetch: {missing}: status 404')
        self.assertIn(f'fetch: {refused}: ', said[1])
        self.assertIn(f'fetch: {odd}: ', said[2])
        self.assertEqual(os.listdir(into), ['00000002-f3.bin'])

    def test_timeout(self):
        into = scratch()
        good, data = self.all_files()[3]
        late = self.url('backend/delay/100000/late')
        r = fetch('-o', into, '--timeout', str(2 * SLOW), late, good, late)
        self.assertEqual(r.status, 2)
        self.assertEqual(r.out, whole(b'- 0 - %s\n' % late.encode(), line(good, data),
                                      b'- 0 - %s\n' % late.encode()))
        self.assertEqual(r.err, b'fetch: %s: timed out\n' % late.encode() * 2)
        self.assertEqual(os.listdir(into), ['00000002-f3.bin'])

    def test_retries(self):
        urls = [self.url('backend/flaky', f'{os.getpid()}-{i}') for i in range(5)]
        good = [line(u, u.rsplit('/', 1)[1].encode()) for u in urls]
        Backend.seen.clear()
        r = fetch('--retries', '1', urls[0])
        self.assertEqual((r.status, r.out), (1, whole(b'500 0 - %s\n' % urls[0].encode())))
        r = fetch('--retries', '2', *urls)
        self.assertEqual((r.status, r.err, r.out), (0, b'', whole(*good)))

    def test_too_many(self):
        urls = [self.url('two/delay/30', f'n{i}') for i in range(24)]
        r = fetch('-j', '24', *urls)
        self.assertGreater(r.status, 0)
        self.assertIn(b'\n503 0 - ', r.out)
        for number, some in (('4', urls[:8]), ('auto', urls)):
            r = fetch('-j', number, '--busy', '429,503', *some)
            self.assertEqual((r.status, r.err), (0, b''), f'-j {number}')
            self.assertEqual(r.out, whole(*(line(u, u.rsplit('/', 1)[1].encode()) for u in some)))

    def test_too_often(self):
        wanted = self.all_files('rate')[:20]
        r = fetch('-j', '8', *(u for u, _ in wanted))
        self.assertIn(b'\n429 0 - ', r.out)
        r = fetch('-j', '8', '--busy', '429', *(u for u, _ in wanted))
        self.assertEqual((r.status, r.err), (0, b''))
        self.assertEqual(r.out, whole(*(line(u, d) for u, d in wanted)))

    def test_connections_stay(self):
        urls = [u for u, _ in self.all_files()] * 5
        log = os.path.join(self.folder, 'access.log')
        before = os.path.getsize(log)
        r = fetch('-j', '4', *urls)
        self.assertEqual(r.status, 0)
        with open(log, encoding='ascii') as f:
            f.seek(before)
            lines = wait_for(lambda: [*f] or None)
        self.assertLessEqual(len({text.split()[0] for text in lines}), 4)

    def test_stopped(self):
        into = scratch()
        good = self.all_files()[3][0]
        argv = [*kneetest.WRAPPER, FETCH, '-j', '3', '-o', into, good, self.url('backend/delay/100000/late'),
                self.url('slow/f10.bin'), good]
        with start(argv=argv) as p:
            wait_for(lambda: {'00000001-f3.bin', '00000002-late.part'} <= set(os.listdir(into)), timeout=60)
            p.send_signal(signal.SIGTERM)
            out, _ = p.communicate(timeout=60 * SLOW)
        self.assertEqual(p.returncode, 255)
        self.assertEqual([n for n in os.listdir(into) if n.endswith('.part')], [])
        self.assertTrue(out.startswith(b'200 '), out)

    def test_usage(self):
        for args in (['-j', 'x'], ['-j', '0'], ['--timeout', '-1'], ['--busy', '429;'], ['--retries', ''],
                     ['-x']):
            r = fetch(*args)
            self.assertEqual((r.status, r.out), (2, b''), args)
            self.assertIn(b'usage: fetch', r.err)
        r = fetch('--help')
        self.assertEqual((r.status, r.err), (0, b''))
        r = fetch('-o', '/no/such/folder', 'http://127.0.0.1:1/')
        self.assertEqual((r.status, r.out), (255, b''))


if __name__ == '__main__':
    unittest.main()
