"""A static site of results: boards, clips with what was predicted of them, models, methods. Loads no torch.

Pages are rendered from `templates`; `assets` holds the style and plain JavaScript. Whatever only a script reads lies in
`.js` files, since a page opened from a disk may not fetch others.
"""
