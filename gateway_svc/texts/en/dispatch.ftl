dispatch-title = Dispatch
dispatch-close = Close

dispatch-queue = Who to call
dispatch-count = { $count }
dispatch-queue-missing = The call queue cannot be loaded at the moment. It appears as soon as it can.
dispatch-queue-empty = Nobody waits for a call.
dispatch-queue-first = Back to the start
dispatch-queue-more = Next page
dispatch-next = Call the next customer
dispatch-call = Call
dispatch-call-now = Call this customer
dispatch-age = asked { $span } ago
dispatch-missed = { $count ->
    [one] 1 missed call
   *[other] { $count } missed calls
}
dispatch-risk-medium = Some cancel risk
dispatch-risk-high = High cancel risk
dispatch-flagged = Needs attention
dispatch-why-new = First call
dispatch-why-appointment_open = No time fixed
dispatch-why-call_back_promised = Call-back promised
dispatch-why-no_answer = Try again
dispatch-why-refused = Refused a visit
dispatch-promised-at = Promised: { $moment }
dispatch-try-at = Next try: { $moment }
dispatch-held-by = { $by } is calling
dispatch-held-by-me = You are calling
dispatch-by-customer = the customer

dispatch-panel = Customer
dispatch-panel-empty = Choose a customer from the queue, or call the next one.
dispatch-visit-missing = The customer cannot be loaded at the moment. They appear as soon as they can.
dispatch-visit-unknown = No visit has been requested for this order yet.
dispatch-mine-until = Others see that you are calling until { $until }.
dispatch-mine-renewed = This is extended while the page is open.
dispatch-held-until = { $by } is calling this customer, until { $until } at the latest.
dispatch-address = Address
dispatch-products = Products
dispatch-email = E-mail
dispatch-visit = Visit
dispatch-attempts = { $count ->
    [one] 1 earlier call
   *[other] { $count } earlier calls
}
dispatch-attempts-none = Nobody has called yet.
dispatch-state-scheduled = Visit fixed
dispatch-state-cancelling = Being cancelled
dispatch-state-cancelled = Cancelled
dispatch-state-completed = Installed
dispatch-state-rejected = Not installable

dispatch-outcome = How the call went
dispatch-outcome-agreed = Agreed to a visit
dispatch-outcome-no_answer = No answer
dispatch-outcome-call_back = Call back
dispatch-outcome-refused = Refused a visit
dispatch-note = Note
dispatch-refused-confirm = Record that { $name } refused a visit?
dispatch-unsaved = Your note has not been saved. Leave this customer?
dispatch-call-back-in-30 = In 30 min
dispatch-call-back-in-60 = In 1 hour
dispatch-call-back-in-180 = In 3 hours
dispatch-call-back-at = At another time
dispatch-call-back = Call back then
dispatch-scheduled-hint = A visit is fixed already. Choose a free window to move it.
dispatch-release = End the call without a result
dispatch-error-outcome = Choose how the call went.
dispatch-error-note = A note can have 500 characters.
dispatch-error-call-back = The call-back must lie ahead, within 60 days.
dispatch-error-slot = Choose the window that was agreed.

dispatch-windows = Free windows
dispatch-windows-days = Days of the free windows
dispatch-windows-caption = How many technicians could come, by day and time
dispatch-windows-missing = The free windows cannot be loaded at the moment. They appear as soon as they can.
dispatch-windows-none = No technician can come in these days.
dispatch-earlier = ← Earlier
dispatch-later = Later →
dispatch-people = { $count ->
    [one] 1 free
   *[other] { $count } free
}
dispatch-nobody-free = no technician can come
dispatch-pick-gone = The chosen window has been taken meanwhile. Choose another one.
dispatch-technicians = Who could come
dispatch-best = Best
dispatch-load = { $count ->
    [one] 1 visit that day
   *[other] { $count } visits that day
}
dispatch-everywhere = everywhere
dispatch-fix = Fix this visit
dispatch-claim-first = Call this customer first to fix the visit.

dispatch-board = Day board
dispatch-board-days = Day of the board
dispatch-board-missing = The day board cannot be loaded at the moment. It appears as soon as it can.
dispatch-board-caption = Visits of each technician on { $day }
dispatch-no-technicians = There are no technicians.
dispatch-technician = Technician
dispatch-day-before = ← Day before
dispatch-day-after = Day after →
dispatch-today = Today
dispatch-day = Day
dispatch-show = Show
dispatch-off = Off
dispatch-over = Over
dispatch-free = Free
dispatch-move = Move
dispatch-move-cancel = Leave it
dispatch-moving = Choose where to move the visit of { $name } ({ $window }, { $technician }). Another day is possible, too.
dispatch-here = Move here

dispatch-done-scheduled = Visit of { $name }: { $window }, { $technician }
dispatch-done-no-answer = { $name }: { $count ->
    [one] 1 missed call.
   *[other] { $count } missed calls.
} Next try: { $moment }
dispatch-done-call-back = { $name } is to be called back: { $moment }
dispatch-done-refused = { $name } refused a visit. It is marked for attention.
dispatch-done-flagged = The visit is marked for attention.
dispatch-done-other = { $name }: recorded.
notice-dispatch-nobody-waits = Nobody needs a call at the moment.
notice-dispatch-released = You ended the call without a result.

dispatch-refused = Nothing was changed.
dispatch-refused-held = { $by } is calling this customer, until { $until } at the latest.
dispatch-refused-taken = That window has been given to another visit.
dispatch-refused-moved = Somebody changed this visit meanwhile. See how it stands now.
dispatch-refused-closed = This visit is over or has been cancelled.
dispatch-refused-past = That time is over or cannot be booked.
dispatch-refused-unfit = That technician cannot take this visit: see skills, area and working hours.
dispatch-refused-call-back = The call-back must lie ahead, within 60 days.
dispatch-refused-invalid = What was sent cannot be processed. Load the page again and retry.
dispatch-refused-no-answer = There was no answer, so it is not known whether this was saved. See how it stands and try again; your note is still here.
dispatch-still-stands = The visit stands as it was: { $window }, { $technician }

dispatch-keys-title = Shortcuts
dispatch-keys-hint = They do nothing while you are typing.
dispatch-keys-on = Use shortcuts
dispatch-key-next = Call the next customer
dispatch-key-call = Call the customer with the focus in the queue, or the open one
dispatch-key-queue = Next / previous customer in the queue
dispatch-key-windows = To the free windows
dispatch-key-arrows = Move within the free windows and the board
dispatch-key-note = To the note
dispatch-key-no-answer = To “No answer”
dispatch-key-call-back = To the time to call back
dispatch-key-board = To the day board
dispatch-key-escape = Leave a field, stop moving a visit
dispatch-key-help = This list
