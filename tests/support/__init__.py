"""What the tests share: sites made and run as a user does it, students over HTTP, students in a browser."""
