"""Sessions that real clients had with a real API server (1.36): who sent what after the 101, in the order of coming."""

from __future__ import annotations

from narrowgate.wire.stream_events import Direction

_C, _S = Direction.TO_POD, Direction.FROM_POD

Session = list[tuple[Direction, bytes]]

KUBECTL_EXEC: Session = [
    (_S, bytes.fromhex("820101")),
    (_C, bytes.fromhex("828c9136e98691459de2f858c9eaf8588c8c")),
    (_C, bytes.fromhex("8282d38763022c87")),
    (_S, bytes.fromhex("820c01737464696e206c696e650a8205026572720a")),
    (
        _S,
        bytes.fromhex(
            "827e00d5037b226d65746164617461223a7b7d2c22737461747573223a224661696c757265222c226d65737361676522"
            "3a22636f6d6d616e64207465726d696e617465642077697468206e6f6e2d7a65726f206578697420636f64653a20636f"
            "6d6d616e64207465726d696e617465642077697468206578697420636f64652033222c22726561736f6e223a224e6f6e"
            "5a65726f45786974436f6465222c2264657461696c73223a7b22636175736573223a5b7b22726561736f6e223a224578"
            "6974436f6465222c226d657373616765223a2233227d5d7d7d880203e8"
        ),
    ),
    (_C, bytes.fromhex("8882bf3d227cbcd5")),
]
"""`kubectl exec -i p -- sh -c "cat; echo err >&2; exit 3"` of 1.36, with "stdin line" typed in."""

KUBECTL_TERMINAL: Session = [
    (_S, bytes.fromhex("820101")),
    (_C, bytes.fromhex("82822f8da0522f8d829817548031132fa2667e30f459356eb01d351ce558703cf4132d64fd3b")),
    (_S, bytes.fromhex("8203015e40")),
    (
        _S,
        bytes.fromhex(
            "821c01737474793a207374616e6461726420696e7075740d0a7474790d0a8223037b226d65746164617461223a7b7d2c"
            "22737461747573223a2253756363657373227d880203e8"
        ),
    ),
    (_C, bytes.fromhex("88826e50abe86db8")),
]
"""`kubectl exec -it p -- sh -c "stty size; echo tty"` of 1.36 in a terminal without a size."""

PYTHON_EXEC_V5: Session = [
    (_S, bytes.fromhex("820101")),
    (
        _C,
        bytes.fromhex(
            "819286dc5b2b86a83e53f2fc3d59e9b17b5bffa83344e8d682939680df9896e2a6ecf3f3fffee4efb2b8e6f9abf0f9eed5"
        ),
    ),
    (_S, bytes.fromhex("822401746578742066726f6d20707974686f6e0a62797465732066726f6d20707974686f6e0a")),
    (_C, bytes.fromhex("82826583ebbb9a83")),
    (_S, bytes.fromhex("8223037b226d65746164617461223a7b7d2c22737461747573223a2253756363657373227d880203e8")),
    (_C, bytes.fromhex("88822a119e3229f9")),
]
"""A text and bytes from the Python client to `cat`, whose input is closed then."""

PYTHON_EXEC_V4: Session = [
    (_S, bytes.fromhex("820101")),
    (_S, bytes.fromhex("82040176340a")),
    (
        _S,
        bytes.fromhex(
            "827e00ee037b226d65746164617461223a7b7d2c22737461747573223a224661696c757265222c226d65737361676522"
            "3a22636f6d6d616e64207465726d696e617465642077697468206e6f6e2d7a65726f206578697420636f64653a206572"
            "726f7220657865637574696e6720636f6d6d616e64205b7368202d63206563686f2076343b206578697420375d2c2065"
            "78697420636f64652037222c22726561736f6e223a224e6f6e5a65726f45786974436f6465222c2264657461696c7322"
            "3a7b22636175736573223a5b7b22726561736f6e223a2245786974436f6465222c226d657373616765223a2237227d5d"
            "7d7d880203e8"
        ),
    ),
    (_C, bytes.fromhex("8882b059ae05b3b1")),
]
"""`sh -c "echo v4; exit 7"` by the Python client, which offered v4 alone."""

KUBECTL_PORT_FORWARD: Session = [
    (
        _C,
        bytes.fromhex(
            "828281af9dff01ac8282c73673fcc73782848a2371668a237158828445c41c5245c41c53828453cfa3b253cfa3b28281"
            "d45a0bb2d482818903b4bb8982b4a9af2800d156cbc60e6d2a2593df122b80e565cc2cb90dac000fa886bd646de0b5cf"
            "4960c86fe8c069f62c896fe378f2cf9b2800a9afd7ff"
        ),
    ),
    (_S, bytes.fromhex("821c80030002000000140000000178f9e3c6a7c26260606000000000ffff")),
    (
        _C,
        bytes.fromhex(
            "82848bf8dca08bf8dca18284d4cf9db0d5cf9db08280733d163682824cf8812fccfb8282ee7ee062ee7f8284a4167e61"
            "a4167e798284f332fd8af332fd898284f5a67f77f5a67f778281170fa128178281a87160f7a8828eb4957477763f6d23"
            "bab066a1bf9574774b6a"
        ),
    ),
    (_S, bytes.fromhex("8214800300020000000c00000003026100000000ffff")),
    (
        _C,
        bytes.fromhex(
            "8284e9aded40e9aded438284c977172ac977177382d9c5cc13ee828947ceeaa57d8aa0b43d86b1a17fce8d9847beeafd"
            "3ddfc8c65b81b6b829cef4fe24c0f5e223c0f4f621d6f1fd21e3cf99608bb7e15289a0a267d4e5af669ca9e324c0fdf4"
            "3ddfc8c6528da6a9639affec39c1efc119e3cf"
        ),
    ),
    (
        _S,
        bytes.fromhex(
            "827e00e200000003000000da485454502f312e3120323030204f4b0d0a446174653a205361742c203231204e6f762032"
            "3032362031333a32373a303520474d540d0a436f6e6e656374696f6e3a20636c6f73650d0a436f6e74656e742d747970"
            "653a20746578742f68746d6c0d0a4163636570742d52616e6765733a2062797465730d0a4c6173742d4d6f6469666965"
            "643a205361742c203231204e6f7620323032362031333a32373a303020474d540d0a455461673a202236623031396332"
            "342d61220d0a436f6e74656e742d4c656e6774683a2031300d0a0d0a68656c6c6f2d7765620a"
        ),
    ),
    (_C, bytes.fromhex("8284ad8bb7ecad8bb7ef828440db346441db3464828038f7a761")),
]
"""`kubectl port-forward p :8080` of 1.36 and a request by curl."""

PYTHON_PORT_FORWARD: Session = [
    (_S, bytes.fromhex("820300901f820301901f")),
    (_C, bytes.fromhex("829dac478e46ac00cb128c68e728c822f668c433e32a8c0fda12fc68bf689c4a844ba6")),
    (
        _S,
        bytes.fromhex(
            "827e00d100485454502f312e3120323030204f4b0d0a446174653a205361742c203231204e6f7620323032362031333a"
            "32393a313620474d540d0a436f6e6e656374696f6e3a20636c6f73650d0a436f6e74656e742d747970653a2074657874"
            "2f68746d6c0d0a4163636570742d52616e6765733a2062797465730d0a4c6173742d4d6f6469666965643a205361742c"
            "203231204e6f7620323032362031333a32373a303020474d540d0a455461673a202236623031396332342d61220d0a43"
            "6f6e74656e742d4c656e6774683a2031300d0a0d0a820b0068656c6c6f2d7765620a"
        ),
    ),
    (_S, bytes.fromhex("880203e8")),
    (_C, bytes.fromhex("88826ff74c636c1f")),
]
"""Port 8080 by the Python client, and a request."""
