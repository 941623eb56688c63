brand = Haneul Telecom
skip-to-content = Skip to content
nav-label = Main menu
nav-dispatch = Dispatch
nav-tech = Today's jobs
nav-ops = Operations
nav-audit = Audit log
language-label = Language
language-ko = 한국어
language-en = English
optional = (optional)
errors-found = { $count ->
    [one] One thing needs your attention
   *[other] { $count } things need your attention
}
live-on = Live
live-off = Connection lost. Reconnecting…
try-again = Try again
not-sent = There was no answer, so this may not have been sent. What you entered is still here: please try again.
request-id = Quote this number when you contact us: { $id }

sign-in = Sign in
sign-out = Sign out
sign-in-title = Staff sign-in
sign-in-staff-only = This is for staff. Are you a customer with an order?
sign-in-subscriber = Go to your order
sign-in-username = User name
sign-in-password = Password
sign-in-incomplete = Please fill in both the user name and the password.
sign-in-wrong = The user name or the password is wrong.
sign-in-locked = Too many failed sign-ins. Please try again in a few minutes.
sign-in-impossible = Signing in is not possible at the moment. Please try again shortly.
notice-signed-out = You have signed out.

error-401-title = Please sign in again
error-401 = Your session has ended. Sign in again to carry on.
error-403-title = This page is not open to you
error-403 = You are not allowed to do this, or the page was too old. Load the page again and retry.
error-404-title = Not found
error-404 = Please check the address. If you have only just placed the order, try again in a moment.
error-409-title = Not possible at the moment
error-409 = Things have changed in the meantime. Load the page again to see how they stand.
error-422-title = Please check what you entered
error-422 = Something in it cannot be processed.
error-429-title = Too many requests
error-429 = Please try again in a moment.
error-503-title = Temporarily unavailable
error-503 = A service we need does not answer. What you sent may not have been processed; please try again shortly.
error-any-title = Something went wrong
error-any = This was not expected. If it happens again, tell us the number below.

status-accepted = Received
status-placed = Order placed
status-activated = Lines ready
status-scheduled = Visit scheduled
status-completed = Installed
status-rejecting = Being rejected
status-rejected = Not installable
status-cancelling = Being cancelled
status-cancelled = Cancelled
status-fallout = Being looked into

kind-internet = Internet
kind-tv = TV
