signup-nav = Sign up
signup-title = Order internet and TV
signup-title-errors = Please check – Order internet and TV
signup-lead = Choose your products, tell us where to install them and how to reach you. It takes about two minutes.

signup-internet = 1. Internet
signup-internet-quantity = Number of lines
signup-tv = 2. TV
signup-no-tv = No TV
signup-tv-quantity = On how many televisions?
signup-speed = { $down } Mbps down · { $up } Mbps up
signup-channels = { $channels } channels
signup-a-month = { $fee } a month

signup-address = 3. Where to install
signup-postcode = Postcode
signup-postcode-hint = Five digits
signup-line1 = Address
signup-line1-hint = Street and number, such as 1 Teheran-ro, Gangnam-gu, Seoul
signup-line2 = Flat, floor, building
signup-line2-hint = Whatever the technician needs to find you

signup-contact = 4. How to reach you
signup-name = Name
signup-phone = Phone number
signup-phone-hint = We call this number to agree on a time for the visit.
signup-email = Email

signup-total = Your monthly total
signup-total-none = Choose a product to see it
signup-total-hint = VAT included.
signup-send = Place the order
signup-total-again = Work out the total again
signup-privacy = We use your details only to handle the order and to visit you.
signup-next = What happens next
signup-next-received = You get an order number at once. With it you can see where your order stands at any time.
signup-next-lines = We get your lines ready.
signup-next-visit = We call you to agree on a visit, or you choose the time yourself.
signup-next-installed = A technician comes and installs everything. Until then you can cancel at any time.

signup-error-internet = Choose one internet product.
signup-error-internet-quantity = This number of internet lines cannot be ordered. Choose another.
signup-error-tv = Choose a TV product from the list.
signup-error-tv-quantity = Choose between 1 and 10 televisions.
signup-error-address-postcode = Enter the postcode as five digits, such as 06236.
signup-error-address-line1 = Enter the address, in at most 200 characters.
signup-error-address-line2 = Keep this to at most 200 characters.
signup-error-customer-name = Enter your name, in at most 50 characters.
signup-error-customer-phone = Enter a Korean phone number, such as 010-1234-5678.
signup-error-customer-email = Enter an email address such as name@example.com, or leave it empty.
signup-error-other = Something in it cannot be processed. Please check what you entered.

signup-problem-stale = This page was too old, so nothing has been ordered yet. Everything you entered is still here: please send it once more. If this happens again, allow cookies in your browser.
signup-problem-too-many = Too many orders came from your internet address at once. Everything you entered is still here: please send it again in a moment.
signup-problem-unavailable = We cannot write orders down at the moment, so nothing has been ordered. Everything you entered is still here: please send it again in a moment.
signup-problem-sent-elsewhere = This form was sent before with other content. If you want one more order, please send it again.

notice-signup-placed = Your order is in. Keep the order number below: with it and your phone number you can come back at any time.
notice-signup-accepted = We have your order safely written down. Keep the order number below: with it and your phone number you can come back at any time.
notice-signup-sent-before = This form was sent before, so here is that order. What you changed afterwards was not taken over. If you need another order, please fill in a new form.
