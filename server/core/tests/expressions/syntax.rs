//! The lexis and the precedence of CEL, by the values of expressions.

use crate::{
    fixtures::{
        Answer::{DoesNot, Matches},
        full,
    },
    semantics::assert_table,
};

/// The forms of literals, as in the lexis of the CEL specification.
#[test]
fn literals_have_values_of_cel() {
    assert_table(
        &full(),
        &[
            (r#"'a"b' == "a\"b" && "a'b" == 'a\'b'"#, Matches),
            (r"'\a\b\f\n\r\t\v\\\?\`' == '\x07\x08\x0c\x0a\x0d\x09\x0b\x5c\x3f\x60'", Matches),
            (r"'\x41\X41\101\u0041\U00000041' == 'AAAAA'", Matches),
            (r"'\xfc\374' == 'üü' && '\U0001f431' == '🐱'", Matches),
            (r"r'\n' == '\\n' && R'\' == '\\' && r'' == ''", Matches),
            ("'''a'b''c\nd''' == 'a\\'b\\'\\'c\\nd'", Matches),
            ("\"\"\"a\"b\r\nc\rd\"\"\" == 'a\"b\\nc\\nd'", Matches),
            ("r'''\\\n''' == '\\\\\\n' && '''''' == ''", Matches),
            ("'// a' == '// a' // comment", Matches),
            ("0x1F == 31 && 0xff == 255 && 007 == 7 && -0x10 == -16", Matches),
            ("-9223372036854775808 < -9223372036854775807 && - 9223372036854775808 < 0", Matches),
            ("-0x8000000000000000 == -9223372036854775808", Matches),
            ("finding.cvss > .5 && finding.cvss > 1.5e0 && finding.cvss < 1E+1 && finding.cvss > 98e-2", Matches),
            ("finding.epss == 00.5 && finding.epss > 1e-400", Matches),
            ("finding.id in ['a', 'CVE-2026-1001',]", Matches),
        ],
    );
}

/// The precedence and associativity of the CEL specification: `? :`, `||`, `&&`, relations, sums, products, signs.
#[test]
fn operators_bind_as_in_cel() {
    assert_table(
        &full(),
        &[
            ("true || false && false", Matches),
            ("(true || false) && false", DoesNot),
            ("false && true || true", Matches),
            ("!false && false", DoesNot),
            ("!(false && false)", Matches),
            ("false == false != true", DoesNot),
            ("1 < 2 == true", Matches),
            ("true == (1 < 2)", Matches),
            ("1 in [1] == true && 1 + 1 in [2]", Matches),
            ("true || false ? false : true", DoesNot),
            ("false ? true : false ? false : true", Matches),
            ("(false ? true : false) ? false : true", Matches),
            ("true ? false : true || true", DoesNot),
            ("10 - 3 - 2 == 5 && 10 - (3 - 2) == 9", Matches),
            ("100 / 10 / 5 == 2 && 100 / (10 / 5) == 50", Matches),
            ("100 / 10 * 5 == 50 && 7 % 4 * 2 == 6", Matches),
            ("2 + 3 * 4 - 1 == 13 && (2 + 3) * 4 == 20", Matches),
            ("1 - -1 == 2 && 1 -1 == 0 && 3--1 == 4", Matches),
            ("-size('ab') + 3 == 1 && -('ab').size() == -2", Matches),
            ("!finding.id.startsWith('x') && !('a' in ['b'])", Matches),
            ("'a'in['a']&&true==true", Matches),
        ],
    );
}
