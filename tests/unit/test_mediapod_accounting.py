"""Every received frame gets exactly one result: ledger, mailbox and decoder queue."""

import asyncio
import threading
import time
from collections import Counter

import pytest

from mediapod.frames.ledger import FrameLedger, Result, Stage
from mediapod.frames.mailbox import Mailbox, MailboxClosed
from mediapod.rtc.bitstream import Codec
from mediapod.rtc.decoder import DecoderThread, EncodedPicture

VP8_KEY, VP8_DELTA = b"\x00", b"\x01"


class Meter:
    """Counts what the ledger says."""

    def __init__(self) -> None:
        self.received, self.ages = 0, 0
        self.ended: Counter[Result] = Counter()
        self.stages: Counter[Stage] = Counter()

    def frame_received(self) -> None:
        self.received += 1

    def frame_ended(self, result: Result) -> None:
        self.ended[result] += 1

    def frame_age(self, seconds: float) -> None:
        self.ages += 1

    def stage(self, stage: Stage, seconds: float) -> None:
        self.stages[stage] += 1


def test_only_the_first_result_of_a_frame_counts():
    meter = Meter()
    ticket = FrameLedger(meter).receive(time.monotonic(), 0)
    ticket.settle(Result.LATE)
    ticket.settle(Result.OK)
    assert meter.ended == {Result.LATE: 1}
    assert meter.ages == 0


def test_age_is_observed_for_ok_alone():
    meter = Meter()
    ledger = FrameLedger(meter)
    for result in Result:
        ledger.receive(time.monotonic(), 0).settle(result)
    assert meter.ages == 1


def test_the_end_of_a_session_settles_what_is_under_way_and_what_still_comes():
    meter = Meter()
    ledger = FrameLedger(meter)
    ledger.receive(0, 0)
    ledger.close()
    ledger.receive(0, 1)
    assert meter.received == 2
    assert meter.ended == {Result.SUPERSEDED: 2}
    assert ledger.under_way == 0


def test_results_balance_when_threads_race_to_settle():
    meter = Meter()
    ledger = FrameLedger(meter)
    tickets = [ledger.receive(0, index) for index in range(2000)]
    threads = [
        threading.Thread(target=lambda r=result: [t.settle(r) for t in tickets]) for result in (Result.OK, Result.LATE)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ledger.results.values()) == ledger.received == 2000


async def test_the_newest_item_wins_and_the_replaced_one_is_reported():
    replaced: list[int] = []
    mailbox = Mailbox(asyncio.get_running_loop(), replaced.append)
    for item in (1, 2, 3):
        mailbox.put(item)
    assert await mailbox.get() == 3
    assert replaced == [1, 2]


async def test_a_closed_mailbox_reports_unread_and_later_items_and_wakes_its_reader():
    replaced: list[int] = []
    mailbox = Mailbox(asyncio.get_running_loop(), replaced.append)
    reader = asyncio.ensure_future(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put(1)
    assert await reader == 1
    mailbox.put(2)
    reader = asyncio.ensure_future(mailbox.get())
    assert await reader == 2
    mailbox.put(3)
    mailbox.close()
    mailbox.put(4)
    with pytest.raises(MailboxClosed):
        await mailbox.get()
    assert replaced == [3, 4]


async def test_nothing_is_lost_or_doubled_between_a_thread_and_the_loop():
    replaced: list[int] = []
    mailbox = Mailbox(asyncio.get_running_loop(), replaced.append)
    producer = threading.Thread(target=lambda: [mailbox.put(item) for item in range(5000)])
    producer.start()
    got: list[int] = []
    while not got or got[-1] != 4999:
        got.append(await asyncio.wait_for(mailbox.get(), 60))
    producer.join()
    assert sorted(got + replaced) == list(range(5000))
    assert got == sorted(got)


def test_an_overfull_decoder_supersedes_all_and_waits_for_a_keyframe():
    meter, troubles = Meter(), []
    ledger = FrameLedger(meter)
    # Never started: nothing drains its queue.
    decoder = DecoderThread(lambda picture: None, lambda: troubles.append(1), capacity=3)

    def put(data: bytes) -> None:
        decoder.put(EncodedPicture(Codec.VP8, data, ledger.receive(0, 0)))

    for _ in range(3):
        put(VP8_DELTA)
    assert not meter.ended
    put(VP8_DELTA)
    assert meter.ended == {Result.SUPERSEDED: 4}
    put(VP8_DELTA)
    assert meter.ended == {Result.SUPERSEDED: 5}
    assert len(troubles) == 2
    put(VP8_KEY)
    put(VP8_DELTA)
    assert meter.ended == {Result.SUPERSEDED: 5}
    assert ledger.under_way == 2


def test_what_cannot_be_decoded_is_an_error_and_asks_for_a_keyframe():
    meter, asked = Meter(), threading.Event()
    decoder = DecoderThread(lambda picture: None, asked.set)
    decoder.start()
    decoder.put(EncodedPicture(Codec.VP8, b"\x9d\x01\x2a garbage", FrameLedger(meter).receive(0, 0)))
    assert asked.wait(60)
    decoder.stop()
    assert decoder.join(60)
    assert meter.ended == {Result.ERROR: 1}
