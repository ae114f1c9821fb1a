"""The page as a simulated user sees it, against a small town's services."""

from tests.services.admin.application import Application


async def test_a_viewer_sees_the_town(application: Application) -> None:
    user = await application.open("viewer")
    await user.should_see("Bad Hersfeld", retries=30)
    await user.should_see("6 Leuchten", retries=30)
