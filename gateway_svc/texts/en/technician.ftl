technician-jobs-title = Jobs
technician-today = today
technician-day-before = The day before
technician-day-after = The next day
technician-to-today = Go to today
technician-jobs-count = { $all ->
    [one] 1 job, { $open } still to do
   *[other] { $all } jobs, { $open } still to do
}
technician-no-jobs = You have no jobs on this day.
technician-jobs-missing = The jobs could not be loaded. They are fetched again shortly.
technician-next = Next
technician-do-not-go = The customer cancelled. Do not go there.

technician-state-assigned = To visit
technician-state-started = Under way
technician-state-completed = Done
technician-state-rejected = Rejected
technician-state-kept = { $state } · not sent yet
technician-state-cancelled = Cancelled

technician-job-title = Job { $number }
technician-back = Jobs
technician-where = Where to go
technician-postcode = Postcode
technician-map = Show on map
technician-call = Call { $phone }
technician-customer = Customer
technician-install = To install
technician-order = Order number

technician-start = I am here: start the job
technician-started-at = Started at { $time }
technician-complete-title = Results
technician-complete = Installation done
technician-complete-final = Once done, this cannot be undone.
technician-results = Results
technician-ont_serial = ONT serial number
technician-rx_power_dbm = Received optical power (dBm)
technician-down_mbps = Download speed (Mbps)
technician-up_mbps = Upload speed (Mbps)
technician-note = Note
technician-hint-ont_serial = Four letters, then eight digits or A to F, such as HFRN1234ABCD
technician-hint-rx_power_dbm = { $low } to { $high } dBm is normal. A number without a sign is read as minus.
technician-hint-down_mbps = From { $low } Mbps is normal for this product.
technician-read-ont_serial = Read as { $value }
technician-read-rx_power_dbm = { $value } dBm
technician-read-down_mbps = { $value } Mbps
technician-read-up_mbps = { $value } Mbps
technician-fine = normal
technician-errors = Please check the fields that are marked.
technician-error-ont_serial = Enter the serial as four letters and eight digits or letters A to F.
technician-error-rx_power_dbm = Enter the received power as a number between -40 and 10 dBm.
technician-error-down_mbps = Enter the download speed as a number above 0.
technician-error-up_mbps = Leave the upload speed empty, or enter a number above 0.
technician-error-note = Say in the note what it was (up to 500 characters).
technician-error-reason_code = Choose why it cannot be installed.
technician-error-photo = This file cannot be read as a photo. Please take it again.

technician-sure = Some values are unusual. Are you sure?
technician-question-ont_serial-corrected = The serial was read as
technician-question-rx_power_dbm-too_low = The received power is weaker than normal ({ $low } to { $high } dBm). Check for a dirty connector or a sharp bend.
technician-question-rx_power_dbm-too_high = The received power is stronger than normal ({ $low } to { $high } dBm). Check whether it needs an attenuator, or whether the sign is missing.
technician-question-down_mbps-too_low = The download is slower than normal (from { $low } Mbps). Measure again over a cable.
technician-question-down_mbps-too_high = The download is faster than the product (up to { $high } Mbps). Check the digits.
technician-question-up_mbps-too_low = The upload is slower than normal (from { $low } Mbps). Measure again over a cable.
technician-question-up_mbps-too_high = The upload is faster than the product (up to { $high } Mbps). Check the digits.
technician-confirm = I checked again and the values are right

technician-reject-title = Cannot be installed?
technician-reason = Reason
technician-hint-reject-note = Needed where you choose Other.
technician-reject = Reject the job
technician-reject-final = Everything prepared for this order is then put back.
technician-rejected = Rejected

technician-photos = Photos
technician-photos-missing = The photos could not be loaded.
technician-photo-at = Photo sent { $time }
technician-take-photo = Take a photo
technician-send-photo = Send the photo
technician-photo-size = A photo may have up to 1 MB.

technician-no-signal = No signal. What you enter now is kept on this phone and sent when there is signal.
technician-as-of = This is how things stood at { $time }.
technician-offline-title = No signal
technician-offline = This phone has no copy of this page. Open it again where there is signal.
technician-kept-title = Kept on this phone
technician-kept-waiting = Not sent yet. It will be sent by itself, once, when there is signal. You can close this page.
technician-kept-sending = Sending…
technician-kept-signed-out = Your session has ended. Sign in again and it will be sent. Nothing is lost.
technician-kept-another = Another technician left entries here. They are sent when that person signs in on this phone.
technician-kept-sign-out = Some entries have not been sent yet. They stay on this phone and are sent when you sign in again. Sign out?
technician-send-now = Send now
technician-entry-start = Job started
technician-entry-complete = Installation done
technician-entry-reject = Job rejected
technician-entry-photo = Photo
technician-entry-waiting = Not sent yet
technician-entry-refused = Not accepted
technician-entry-forget = Understood, remove it
technician-said-kept = Kept on this phone.
technician-said-sent = Sent.
technician-said-new = A new job has come in.
technician-said-gone = A job is no longer on your list.

technician-gone-title = This job cannot be opened
technician-refused-moved = This job now belongs to another technician.
technician-advice-moved = If you have been there already, tell the dispatcher.
technician-refused-unknown = This job cannot be found.
technician-advice-unknown = Please ask the dispatcher.
technician-refused-cancelled = The customer cancelled the order; the job is withdrawn.
technician-advice-cancelled = Do not install. If you already have, tell the dispatcher.
technician-refused-completed = This job was already completed with other results.
technician-advice-completed = See what is stored on the job's page.
technician-refused-rejected = This job was already rejected.
technician-advice-rejected = If you have installed it, tell the dispatcher.
technician-refused-photos-full = This job takes no more photos.
technician-advice-photos-full = Each job takes up to six.
technician-refused-invalid = The server could not read this entry.
technician-advice-invalid = Please enter it again on the job's page.
technician-refused-later = It cannot be sent at the moment, and may not have been stored.
technician-advice-later = Please send it again shortly. Sent twice, it is still done once.

notice-job-started = The job has started.
notice-job-completed = The installation is done. Thank you.
notice-job-rejected = The job was rejected.
notice-job-photo-kept = The photo was sent.
