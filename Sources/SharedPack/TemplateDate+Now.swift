import Glibc
public import Templates

extension TemplateDate {
  /// The machine's local time.
  public static var now: TemplateDate {
    var seconds = time(nil)
    var local = unsafe tm()
    _ = unsafe localtime_r(&seconds, &local)
    return unsafe TemplateDate(
      year: Int(local.tm_year) + 1900, month: Int(local.tm_mon) + 1, day: Int(local.tm_mday), hour: Int(local.tm_hour),
      minute: Int(local.tm_min), second: Int(local.tm_sec))
  }
}
