/// A local date and time, for `strftime_now`.
public struct TemplateDate: Sendable, Hashable {
  public let year: Int
  /// From 1.
  public let month: Int
  /// From 1.
  public let day: Int
  public let hour: Int
  public let minute: Int
  public let second: Int

  /// A date of the Gregorian calendar, in the years from 1 to 9999.
  ///
  /// Components out of their ranges become the nearest that are in them.
  public init(year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0) {
    self.year = min(max(year, 1), 9999)
    self.month = min(max(month, 1), 12)
    self.day = min(max(day, 1), Self.dayCount(year: self.year, month: self.month))
    self.hour = min(max(hour, 0), 23)
    self.minute = min(max(minute, 0), 59)
    self.second = min(max(second, 0), 61)
  }

  private static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  private static func dayCount(year: Int, month: Int) -> Int {
    month == 2 ? (isLeap(year) ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
  }

  /// From 1.
  var dayOfYear: Int { (1..<month).reduce(day) { $0 + Self.dayCount(year: year, month: $1) } }

  /// Days since the first day of the year 1, which was a Monday.
  private var dayNumber: Int {
    let years = year - 1
    return years * 365 + years / 4 - years / 100 + years / 400 + dayOfYear - 1
  }

  /// 0 is Monday.
  var weekday: Int { dayNumber % 7 }

  /// The year and the week of ISO 8601: a week belongs to the year of its Thursday.
  private var isoWeek: (year: Int, week: Int) {
    let thursday = dayOfYear + 3 - weekday
    if thursday < 1 { return (year - 1, (thursday + (Self.isLeap(year - 1) ? 366 : 365) - 1) / 7 + 1) }
    let length = Self.isLeap(year) ? 366 : 365
    return thursday > length ? (year + 1, 1) : (year, (thursday - 1) / 7 + 1)
  }

  /// Formats as C's `strftime` in the locale C. Directives that it does not know stay as they are.
  func formatted(_ format: [UInt32]) -> [UInt32] {
    var result: [UInt32] = []
    var index = 0
    while index < format.count {
      let unit = format[index]
      index += 1
      guard unit & ~TemplateString.mark == 0x25, index < format.count else {
        result.append(unit)
        continue
      }
      // glibc knows `-`, `_` and `0` before the letter.
      var padding: Character?
      var end = index
      if let flag = ascii(format[end]), "-_0".contains(flag), end + 1 < format.count {
        padding = flag
        end += 1
      }
      if let letter = ascii(format[end]), let text = directive(letter, padding) {
        result += text.unicodeScalars.map(\.value)
        index = end + 1
      } else {
        result.append(unit)
      }
    }
    return result
  }

  private func ascii(_ unit: UInt32) -> Character? {
    let unit = unit & ~TemplateString.mark
    return unit < 0x80 ? Unicode.Scalar(unit).map { Character($0) } : nil
  }

  private static let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
  private static let months = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
  ]

  private func directive(_ letter: Character, _ flag: Character?) -> String? {
    func number(_ value: Int, _ width: Int, _ fill: Character = "0") -> String {
      let digits = String(value)
      let fill: Character? = flag == "-" ? nil : flag == "_" ? " " : flag == "0" ? "0" : fill
      guard let fill, digits.utf8.count < width else { return digits }
      return String(repeating: fill, count: width - digits.utf8.count) + digits
    }
    let hour12 = (hour + 11) % 12 + 1
    switch letter {
    case "a": return String(Self.days[weekday].prefix(3))
    case "A": return Self.days[weekday]
    case "b", "h": return String(Self.months[month - 1].prefix(3))
    case "B": return Self.months[month - 1]
    case "c":
      let text = [directive("a", nil), directive("b", nil), directive("e", nil), directive("T", nil)].map { $0 ?? "" }
      return text.joined(separator: " ") + " \(year)"
    case "C": return number(year / 100, 2)
    case "d": return number(day, 2)
    case "D", "x": return [number(month, 2), number(day, 2), number(year % 100, 2)].joined(separator: "/")
    case "e": return number(day, 2, " ")
    case "f": return "000000"
    case "F": return [String(year), number(month, 2), number(day, 2)].joined(separator: "-")
    case "G": return String(isoWeek.year)
    case "g": return number(isoWeek.year % 100, 2)
    case "H": return number(hour, 2)
    case "I": return number(hour12, 2)
    case "j": return number(dayOfYear, 3)
    case "k": return number(hour, 2, " ")
    case "l": return number(hour12, 2, " ")
    case "m": return number(month, 2)
    case "M": return number(minute, 2)
    case "n": return "\n"
    case "p": return hour < 12 ? "AM" : "PM"
    case "P": return hour < 12 ? "am" : "pm"
    case "r":
      return [number(hour12, 2), number(minute, 2), number(second, 2)].joined(separator: ":")
        + (hour < 12 ? " AM" : " PM")
    case "R": return [number(hour, 2), number(minute, 2)].joined(separator: ":")
    case "S": return number(second, 2)
    case "t": return "\t"
    case "T", "X": return [number(hour, 2), number(minute, 2), number(second, 2)].joined(separator: ":")
    case "u": return String(weekday + 1)
    case "U": return number((dayOfYear + 6 - (weekday + 1) % 7) / 7, 2)
    case "V": return number(isoWeek.week, 2)
    case "w": return String((weekday + 1) % 7)
    case "W": return number((dayOfYear + 6 - weekday) / 7, 2)
    case "y": return number(year % 100, 2)
    case "Y": return String(year)
    case "z", "Z": return ""
    case "%": return "%"
    default: return nil
    }
  }
}
