"""Telling people by e-mail: one plain text for each event, over a connection that is protected."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import urlsplit

from narrowgate.control.notifications.events import TEST
from narrowgate.control.notifications.messages import Message
from narrowgate.control.notifications.outcomes import NotNow, Outcome, Told
from narrowgate.control.notifications.printable_text import printable
from narrowgate.control.notifications.receivers import MailReceiver, MailSecurity

ANSWER_SECONDS = 10.0
"""For each of the server's answers; there are some eight in a message."""

MESSAGE_SECONDS = 30.0
"""For one message with everything around it."""


class MailSender:
    """See `outcomes.Sender`."""

    def __init__(self, receiver: MailReceiver, url: str, patience: float = MESSAGE_SECONDS) -> None:
        """`url` is the control port's: its host is the domain of message ids; `patience` is for one message, in
        seconds. Raises ssl.SSLError for a bad CA.
        """
        self._patience = patience
        self._receiver = receiver
        self._domain = urlsplit(url).hostname or "narrowgate"
        self._context = ssl.create_default_context(cadata=receiver.certificate_authority or None)
        # A thread of its own: a slow mail server must not take those that people's calls are answered by.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"mail-{receiver.name}")
        self._under_way: smtplib.SMTP | None = None

    async def send(self, message: Message, now: float) -> Outcome:  # noqa: ARG002 (mail is not signed)
        """See the port."""
        to = recipients(self._receiver, message)
        if not to:
            return Told()
        mail = mail_of(message, self._receiver, to, self._domain)
        try:
            await self._within_time(mail, to)
        except TimeoutError:
            return NotNow(trouble=f"the mail server did not take it within {self._patience:.0f} s")
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({code for code, _ in error.recipients.values()})
            return NotNow(trouble=f"the mail server takes none of the addresses: {codes}", refused=min(codes) >= 500)
        except smtplib.SMTPResponseException as error:
            # A 5xx to the message itself is about the message; one before it (login, sender) is about all of them.
            about_it = isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500
            return NotNow(trouble=_words(error), refused=about_it)
        except (smtplib.SMTPException, ssl.SSLError, OSError, ValueError) as error:
            return NotNow(trouble=_words(error))
        return Told()

    async def close(self) -> None:
        """See the port."""
        self._break_off()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _within_time(self, mail: EmailMessage, to: tuple[str, ...]) -> None:
        """Deliver, or raise TimeoutError with the connection broken off: no two attempts are ever under way."""
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._deliver, mail, to)
        if not (await asyncio.wait({done}, timeout=self._patience))[0]:
            self._break_off()
            await asyncio.wait({done})
            if not done.exception():
                return
            raise TimeoutError
        await done

    def _break_off(self) -> None:
        """Wake whoever waits for the server: its time is for one answer only, and it may give many small pieces."""
        server = self._under_way
        if server is not None and server.sock is not None:
            with contextlib.suppress(OSError):
                server.sock.shutdown(socket.SHUT_RDWR)

    def _deliver(self, mail: EmailMessage, to: tuple[str, ...]) -> None:
        receiver = self._receiver
        with self._unconnected() as server:
            self._under_way = server
            try:
                server.connect(receiver.host, receiver.port)
                if receiver.security is MailSecurity.STARTTLS:
                    # It raises where the server has no STARTTLS: nothing goes there in the clear.
                    server.starttls(context=self._context)
                if receiver.username:
                    server.login(receiver.username, receiver.password)
                server.send_message(mail, from_addr=receiver.sender, to_addrs=list(to))
            finally:
                self._under_way = None

    def _unconnected(self) -> smtplib.SMTP:
        server = smtplib.SMTP(timeout=ANSWER_SECONDS)
        if self._receiver.security is MailSecurity.TLS:
            server = smtplib.SMTP_SSL(timeout=ANSWER_SECONDS, context=self._context)
        # Whom the certificate must be for. The library sets it only where it connects at once, and then there is
        # nothing that could be broken off.
        server._host = self._receiver.host  # type: ignore[attr-defined]
        return server


def recipients(receiver: MailReceiver, message: Message) -> tuple[str, ...]:
    """Whom a message goes to: who gets everything, and the people of the groups that it is asked of, once each."""
    asked = [address for group in message.groups for address in receiver.groups.get(group, ())]
    if message.kind == TEST or message.kind.startswith("emergency."):
        asked = [address for addresses in receiver.groups.values() for address in addresses]
    return tuple(dict.fromkeys([*receiver.to, *asked]))


def mail_of(message: Message, receiver: MailReceiver, to: tuple[str, ...], domain: str) -> EmailMessage:
    """The message as mail (RFC 5322). The library refuses line ends in headers; there are none in what it is given."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"Narrowgate <{receiver.sender}>"
    # Who else is asked is nobody's business: the addresses are on the envelope alone.
    mail["To"] = to[0] if len(to) == 1 else "undisclosed-recipients:;"
    mail["Subject"] = printable(f"[narrowgate] {message.title}", 200)
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.at, UTC))
    mail["Message-ID"] = f"<{message.id}.{receiver.name}@{domain}>"
    # RFC 3834, section 5: nobody's holiday note answers it.
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Narrowgate-Event"] = message.kind
    lines = [message.title, "", *(f"{label}: {text}" for label, text in message.lines)]
    if message.commands:
        lines += ["", *message.commands]
    # For servers that take seven bits only, too.
    mail.set_content("\n".join([*lines, ""]), cte="quoted-printable")
    return mail


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return printable(f"the mail server answered {error.smtp_code} {said}", 300)
    return printable(f"the mail server cannot be used: {error or type(error).__name__}", 300)
