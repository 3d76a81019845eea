"""A connection of your own: SMTP, over a link that is made again for as long as the tree runs.

The first half is all that it takes. The second is a mail server that comes late, goes away, and comes back.
"""

import socket
from functools import partial

import attrs
import trio

from resprout import Name, ReplyError, Unavailable, child, open_runtime, supervisor
from resprout.actors.connection import WAIT, BaseLink, Connection, LinkClient, dial, is_silent


class Rejected(ReplyError):
    """The mail server's answer: it will not take this mail. The service itself is well."""


@attrs.define(eq=False)
class SmtpLink(BaseLink):
    stream: trio.SocketStream

    async def command(self, line: str, expected: str) -> str:
        await self.stream.send_all(line.encode() + b"\r\n")
        return await self.reply(expected)

    async def reply(self, expected: str) -> str:
        reply = b""
        while not reply.endswith(b"\r\n"):
            reply += (more := await self.stream.receive_some())
            if not more:
                raise EOFError("the mail server hung up")
        if not reply.startswith(expected.encode()):
            raise Rejected(reply.decode().strip())
        return reply.decode().strip()

    def is_usable(self) -> bool:
        return is_silent(self.stream)

    async def ping(self) -> None:
        await self.command("NOOP", "250")

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)

    async def send(self, sender: str, to: str, text: str) -> str:
        await self.command("RSET", "250")
        await self.command(f"MAIL FROM:<{sender}>", "250")
        await self.command(f"RCPT TO:<{to}>", "250")
        await self.command("DATA", "354")
        return await self.command(f"{text}\r\n.", "250")


@attrs.define
class SmtpConnection(Connection):
    port: int

    async def on_start(self) -> None:
        self.keep("smtp", self.connect)

    async def connect(self, _nursery: trio.Nursery) -> SmtpLink:
        link = SmtpLink(await dial("127.0.0.1", self.port))
        await link.reply("220")
        return link


SMTP = Name(SmtpConnection, "smtp")
mail = LinkClient(SMTP, SmtpLink, timeout=10)


async def mail_server(
    port: int, *, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
) -> None:
    """Speaks enough SMTP for one recipient, Ann."""

    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 here I am\r\n")
        in_text = False
        async for data in stream:
            in_text = data == b"DATA\r\n" or (in_text and not data.endswith(b"\r\n.\r\n"))
            if in_text:
                await stream.send_all(b"354 go on\r\n")
            elif data.startswith(b"RCPT") and b"<ann@" not in data:
                await stream.send_all(b"550 no such mailbox\r\n")
            else:
                await stream.send_all(b"250 fine\r\n")

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, talk, port, host="127.0.0.1"))
        task_status.started(nursery.cancel_scope)


async def main() -> None:
    port = unused_port()
    tree = supervisor("app", child("smtp", partial(SmtpConnection, port), name=SMTP))
    async with open_runtime(tree), trio.open_nursery() as nursery:
        try:
            await mail.call(SmtpLink.send, "me@here", "ann@there", "Hello")
        except Unavailable as error:
            print("not sent:", error)
        patient = mail.using(on_down=WAIT)
        server = await nursery.start(mail_server, port)
        print("sent:", await patient.call(SmtpLink.send, "me@here", "ann@there", "Hello"))
        try:
            await mail.call(SmtpLink.send, "me@here", "bob@there", "Hello")
        except Rejected as answer:
            print("rejected:", answer)
        server.cancel()
        await trio.sleep(0.1)
        server = await nursery.start(mail_server, port)
        print("sent again:", await patient.call(SmtpLink.send, "me@here", "ann@there", "Hello"))
        server.cancel()


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    trio.run(main)
