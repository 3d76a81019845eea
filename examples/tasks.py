"""One-off work under supervision: results for those who wait, failures that harm nobody, and an orderly stop."""

import trio

from resprout import Name, TaskFailed, Tasks, TaskSupervisor, open_runtime, supervisor, task_supervisor

JOBS_NAME = Name(TaskSupervisor, "jobs")
JOBS = Tasks(JOBS_NAME)
app = supervisor("app", task_supervisor("jobs", name=JOBS_NAME, max_children=100))


async def resize(image: str) -> str:
    await trio.sleep(0.01)
    if not image.endswith(".png"):
        raise ValueError("no image")
    return f"small {image}"


async def write_down(word: str) -> None:
    await trio.sleep(0.05)
    print("written:", word)


async def main() -> None:
    async with open_runtime(app):
        print(await JOBS.run(resize, "cat.png"))
        try:
            await JOBS.run(resize, "cat.txt")
        except TaskFailed as failed:
            print(failed)
        JOBS.start_soon(write_down, "the stop waits for this")


if __name__ == "__main__":
    trio.run(main)
