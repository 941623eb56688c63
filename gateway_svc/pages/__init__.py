"""The pages that people use in a browser: rendered here, from what the services answer. They hold no rule of their own.

`routing.page` declares a page, `view.View` is one request of it, `render` fills templates, `ask` calls services side
by side within a deadline. Texts are in `gateway_svc/texts`, never in templates.
"""
